"""What a command gives back, whichever back-end runs it."""

from __future__ import annotations

import time

import pytest

from agentgym.containers import FileRefused, Limits, Sandbox
from agentgym.containers.sandbox import RunnerSandbox, Session
from agentgym.errors import UsageError, WorldError
from tests.containers.conftest import Make

PROCESSES = "set -- /proc/[0-9]*; echo $#"  # PID 1 and this shell make two


def test_a_line_for_the_shell_and_words_for_a_program(shared: Sandbox) -> None:
    assert shared.exec("echo $((1 + 1)) | cat; echo no >&2").out.text == "2\n"
    assert shared.exec(["echo", "$((1 + 1))"]).out.text == "$((1 + 1))\n"


def test_streams_are_apart_unless_merged(shared: Sandbox) -> None:
    line = "echo a; echo b >&2; echo c"
    apart, merged = shared.exec(line), shared.exec(line, merge=True)
    assert (apart.out.text, apart.err.text) == ("a\nc\n", "b\n")
    assert (merged.out.text, merged.err.text) == ("a\nb\nc\n", "")


@pytest.mark.parametrize(
    ("line", "code"), [("true", 0), ("exit 3", 3), ("nosuchprogram", 127), ("kill -9 $$", -9), ("kill -TERM $$", -15)]
)
def test_exit_codes(shared: Sandbox, line: str, code: int) -> None:
    result = shared.exec(line)
    assert (result.code, result.ok, result.cut) == (code, code == 0, "")


def test_what_cannot_start_says_why(shared: Sandbox) -> None:
    for result in (shared.exec(["nosuchprogram"]), shared.exec("true", cwd="nowhere"), shared.exec(["/etc/passwd"])):
        assert result.code == 127
        assert result.trouble
    assert shared.exec("").trouble == shared.exec(["a\0b"]).trouble != ""


def test_folder_environment_and_input_are_given(shared: RunnerSandbox) -> None:
    shared.exec("mkdir -p inner")
    result = shared.exec("pwd; echo $WHO; cat", cwd="inner", env={"WHO": "me"}, stdin=b"read\n")
    assert result.out.text == f"{shared.session.workdir}/inner\nme\nread\n"
    assert shared.exec("cat; echo end").out.text == "end\n"  # no input: it ends at once


def test_the_commands_are_nobody_in_particular(shared: Sandbox) -> None:
    assert shared.exec("id -u; id -g; hostname; echo $HOME").out.text.split() == ["1000", "1000", "sandbox", "/tmp"]


def test_a_long_output_keeps_its_ends_and_its_count(make: Make) -> None:
    box = make(limits=Limits(output=1000))
    out = box.exec("seq 1 100000").out
    assert (len(out.head), len(out.tail), out.total) == (500, 500, 588_895)
    assert out.text.startswith("1\n2\n")
    assert out.text.endswith("\n99999\n100000\n")
    assert f"[... {588_895 - 1000} bytes left out ...]" in out.text
    exact = box.exec("head -c 1000 /dev/zero").out
    assert (exact.left_out, exact.total) == (0, 1000)
    assert box.exec("head -c 1001 /dev/zero").out.left_out == 1


def test_a_time_out_keeps_what_was_printed_and_ends_everything(shared: Sandbox) -> None:
    started = time.monotonic()
    result = shared.exec("echo before; sleep 100 & setsid sleep 100 & sleep 100; echo after", seconds=0.5)
    assert time.monotonic() - started < 20
    assert (result.code, result.cut, result.out.text) == (None, "time", "before\n")
    assert result.killed >= 2
    assert shared.exec(PROCESSES).out.text == "2\n"


def test_a_step_leaves_nothing_alive(shared: Sandbox) -> None:
    result = shared.exec("sleep 100 & nohup sleep 100 >/dev/null 2>&1 & setsid -f sleep 100; echo end")
    assert (result.out.text, result.killed) == ("end\n", 3)
    assert shared.exec(PROCESSES).out.text == "2\n"


def test_without_a_shell_nothing_is_carried_over(shared: Sandbox) -> None:
    shared.exec("cd /tmp; x=1; export y=2")
    assert shared.exec("echo $PWD$x$y").out.text == f"{shared.session.workdir}\n"


def test_the_persistent_shell_keeps_folder_variables_and_jobs(make: Make) -> None:
    box = make(shell=True)
    first = box.exec("mkdir -p sub; cd sub; x=1; f() { echo f$x; }; sleep 100 &")
    assert (first.code, first.fresh_shell) == (0, True)
    second = box.exec("pwd; f; jobs | wc -l; cat; (exit 4)")
    assert second.out.text == f"{Session().workdir}/sub\nf1\n1\n"
    assert (second.code, second.fresh_shell) == (4, False)
    assert box.exec("for i in 1 2; do\n  echo $i\ndone").out.text == "1\n2\n"


def test_a_shell_that_ends_is_replaced_and_says_so(make: Make) -> None:
    box = make(shell=True)
    box.exec("x=1")
    assert box.exec("exit 7").code == 7
    again = box.exec("echo -$x-")
    assert (again.out.text, again.fresh_shell) == ("--\n", True)
    late = box.exec("sleep 100 & sleep 100", seconds=0.5)
    assert (late.cut, late.code) == ("time", None)
    assert box.exec(PROCESSES).out.text == "2\n"
    # Words for a program are no part of the conversation: they end it.
    box.exec(["true"])
    assert box.exec("echo $x").fresh_shell


def test_a_closed_or_unstarted_sandbox_says_so(make: Make) -> None:
    box = make()
    box.close()
    box.close()
    with pytest.raises(WorldError, match="closed"):
        box.exec("true")
    with pytest.raises(UsageError, match="started before"):
        box.start()


def test_bytes_that_are_no_text_and_names_that_are_no_words(shared: Sandbox) -> None:
    assert shared.exec(r"printf '\377\n'").out.text == "\ufffd\n"
    shared.put("ü €\n.txt", b"x")
    assert shared.get("ü €\n.txt") == b"x"
    with pytest.raises(FileRefused):
        shared.get("\udcff")


def test_a_very_long_script_runs(shared: Sandbox) -> None:
    assert shared.exec("# " + "x" * 2_000_000 + "\necho end").out.text == "end\n"
    assert "too long" in shared.exec(["echo", "x" * 2_000_000]).trouble


@pytest.mark.parametrize(
    "wrong", [{"memory": 0}, {"pids": 1}, {"memory": 1 << 20}, {"seconds": float("nan")}, {"disk": True}]
)
def test_limits_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"limit {next(iter(wrong))}"):
        Limits(**wrong)  # type: ignore[arg-type]
