"use strict";
/* What agents and environments wrote is hostile text: it reaches the page through textContent and attributes of SVG
   numbers alone, never as markup. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const percent = (v) => (v * 100).toFixed(v > 0 && v < 0.1 ? 1 : 0) + " %";
  const signed = (v, digits) => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(digits);

  function make(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  function draw(parent, name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  /* ---- light and dark */
  const theme = document.querySelector(".theme");
  const dark = () => document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();

  /* ---- curves: what they say under the pointer */
  document.querySelectorAll("figure[data-panel]").forEach((figure) => {
    const panel = data.panels[Number(figure.dataset.panel)];
    const svg = figure.querySelector("svg"), cursor = svg.querySelector(".cursor");
    const tip = make("div", { class: "tip" });
    figure.append(tip);
    const g = Object.fromEntries(Object.entries(svg.dataset).map(([k, v]) => [k, Number(v)]));
    const xs = [...new Set(panel.series.flatMap((s) => s.x))].sort((a, b) => a - b);
    const hide = () => { tip.style.visibility = cursor.style.visibility = "hidden"; };
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      const at = g.x0 + ((event.clientX - box.left) * scale - g.left) / (g.right - g.left) * (g.x1 - g.x0);
      if (!xs.length || at < g.x0 - 1 || at > g.x1 + 1) return hide();
      const x = xs.reduce((a, b) => (Math.abs(b - at) < Math.abs(a - at) ? b : a));
      const px = g.left + (x - g.x0) / (g.x1 - g.x0) * (g.right - g.left);
      for (const [k, v] of Object.entries({ x1: px, x2: px, y1: g.top, y2: g.bottom })) cursor.setAttribute(k, v);
      tip.replaceChildren(make("b", {}, `update ${x}`));
      for (const s of panel.series) {
        const k = s.x.indexOf(x);
        if (k < 0) continue;
        const value = panel.share ? percent(s.y[k]) : Number(s.y[k].toPrecision(3)).toString();
        const band = s.low[k] === null ? "" : ` [${percent(s.low[k])}, ${percent(s.high[k])}]`;
        tip.append(make("div", { class: `s${s.colour}` }, make("i"), `${s.arm} ${s.phase} ${value}${band}`));
      }
      const left = px / scale;
      tip.style.left = left > box.width / 2 ? "auto" : `${left + 12}px`;
      tip.style.right = left > box.width / 2 ? `${box.width - left + 12}px` : "auto";
      tip.style.visibility = cursor.style.visibility = "visible";
    });
  });

  /* ---- episodes */
  const viewer = document.querySelector(".viewer");
  if (!viewer) return;
  const list = document.querySelector(".list"), part = (name) => viewer.querySelector("." + name);
  const status = (e) => (e.broken ? "broke" : e.success ? "won" : "lost");
  const verdict = { won: "solved", lost: "not solved", broke: "broken" };
  let episode = 0, step = 0, chart = null;

  let heading = null;
  data.episodes.forEach((e, k) => {
    const of = [e.arm, e.when].filter(Boolean).join(", ");
    if (of !== heading) list.append(make("h3", {}, (heading = of)));
    const button = make("button", { type: "button", class: status(e) },
      make("span", { class: "mark" }), make("span", {}, e.why.join(", ")),
      make("span", { class: "sub" }, `seed ${e.seed}, ${e.length} step${e.length === 1 ? "" : "s"}`));
    button.addEventListener("click", () => show(k, 0));
    e.button = button;
    list.append(button);
  });

  function show(k, at) {
    episode = Math.max(0, Math.min(data.episodes.length - 1, k));
    const e = data.episodes[episode];
    for (const other of data.episodes) other.button.setAttribute("aria-current", String(other === e));
    const holder = e.button.offsetParent && list;
    if (holder && list.scrollHeight > list.clientHeight) {
      const top = e.button.offsetTop - list.offsetTop;
      if (top < list.scrollTop || top + e.button.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - 40;
    }
    part("name").textContent = e.env.replace(/^agentgym\//, "");
    const pill = part("pill");
    pill.className = `pill ${status(e)}`;
    pill.textContent = verdict[status(e)];
    const shown = e.steps.t.length;
    part("meta").textContent = [
      e.task, `seed ${e.seed}`, `${e.length}${e.horizon ? ` of at most ${e.horizon}` : ""} steps`,
      `outcome ${Number((e.outcome ?? 0).toPrecision(3))}`, e.hidden === null ? "" : `hidden performance ${e.hidden}`,
      e.steps.truncated ? "out of steps" : "", shown < e.length ? `first ${shown} shown` : "",
    ].filter(Boolean).join(" · ");
    part("broken").hidden = !e.broken;
    part("broken").textContent = e.broken;
    for (const name of ["timeline", "controls", "detail"]) part(name).hidden = !shown;
    if (shown) { chart = timeline(e); go(at); }
  }

  function timeline(e) {
    const s = e.steps, n = s.t.length, W = 780, left = 62, right = 14, inner = W - left - right;
    const credit = s.advantage.some((v) => v !== null), top = 34, mid = 118, marks = 138;
    const low = credit ? 216 : 156, H = low + 4, w = inner / n;
    const x = (k) => left + (k + 0.5) * w, y = (v) => mid - v * (mid - top);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${n} steps: progress, signals and credit`);
    for (const [v, t] of [[0, "0 %"], [1, "100 %"]]) {
      draw(svg, "line", { class: "grid", x1: left, x2: W - right, y1: y(v), y2: y(v) });
      draw(svg, "text", { class: "lane", x: left - 8, y: y(v) + 4, "text-anchor": "end" }, t);
    }
    draw(svg, "text", { class: "lane", x: left - 8, y: (top + mid) / 2 + 4, "text-anchor": "end" }, "progress");
    draw(svg, "text", { class: "lane", x: left - 8, y: marks + 4, "text-anchor": "end" }, "signals");
    const here = draw(svg, "rect", { class: "here", y: top - 26, height: low - top + 26, width: Math.max(w, 2), rx: 3 });
    let points = `${left},${y(s.before[0])}`;
    s.progress.forEach((v, k) => { points += ` ${x(k)},${y(v)}`; });
    draw(svg, "polygon", { class: "area", points: `${points} ${x(n - 1)},${mid} ${left},${mid}` });
    draw(svg, "polyline", { class: "path", points });
    let clear = [-Infinity, -Infinity];
    s.fresh.forEach((names, k) => {
      if (!names.length) return;
      const text = names.join(", "), width = text.length * 6.1, row = x(k) > clear[0] ? 0 : x(k) > clear[1] ? 1 : -1;
      draw(svg, "line", { class: "stem", x1: x(k), x2: x(k), y1: top - 18, y2: marks });
      draw(svg, "path", { class: "flag", d: `M${x(k)} ${marks - 5}l5 5l-5 5l-5 -5z` });
      if (row < 0) return;
      const end = x(k) + width > W - right;
      draw(svg, "text", { class: "flagname", x: end ? x(k) - 4 : x(k) + 4, y: top - 22 + row * 13, "text-anchor": end ? "end" : "start" }, text);
      clear[row] = end ? W : x(k) + width + 8;
    });
    for (let k = 0; k < n; k++) {
      if (s.danger[k]) {
        draw(svg, "rect", { class: "dangerband", x: x(k) - w / 2, y: top, width: w, height: mid - top });
        draw(svg, "path", { class: "danger", d: `M${x(k)} ${marks - 6}l6 10h-12z` });
      }
      if (!s.grounded[k]) draw(svg, "circle", { class: "ungrounded", cx: x(k), cy: marks, r: 4 });
    }
    if (credit) {
      const zero = (marks + 14 + low) / 2, half = (low - marks - 14) / 2;
      const most = Math.max(1e-9, ...s.advantage.map((v) => Math.abs(v ?? 0)));
      draw(svg, "line", { class: "grid", x1: left, x2: W - right, y1: zero, y2: zero });
      draw(svg, "text", { class: "lane", x: left - 8, y: zero + 4, "text-anchor": "end" }, "credit");
      s.advantage.forEach((v, k) => {
        if (!v) return;
        const h = Math.max(1, Math.abs(v) / most * half), bar = Math.min(Math.max(w * 0.62, 1.5), 22);
        draw(svg, "rect", { class: v > 0 ? "plus" : "minus", x: x(k) - bar / 2, y: v > 0 ? zero - h : zero, width: bar, height: h, rx: Math.min(1.5, bar / 3) });
      });
    }
    const knob = draw(svg, "circle", { class: "knob", r: 4.5 });
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect();
      go(Math.floor(((event.clientX - box.left) * W / box.width - left) / w));
    });
    part("timeline").replaceChildren(svg);
    return (k) => { here.setAttribute("x", x(k) - Math.max(w, 2) / 2); knob.setAttribute("cx", x(k)); knob.setAttribute("cy", y(s.progress[k])); };
  }

  function fill(node, text, none) {
    if (text) node.textContent = text;
    else node.replaceChildren(make("span", { class: "none" }, none));
  }
  function go(k) {
    const e = data.episodes[episode], s = e.steps, n = s.t.length;
    step = Math.max(0, Math.min(n - 1, k));
    chart(step);
    part("where").textContent = `Step ${step + 1} of ${n}`;
    part("back").disabled = step === 0;
    part("next").disabled = step === n - 1;
    fill(part("text"), s.text[step], "no text was stored");
    fill(part("action"), s.action[step], "no text was stored");
    const said = s.said[step] && s.said[step] !== s.action[step] ? s.said[step] : "";
    part("saidbox").hidden = !said;
    part("said").textContent = said;
    part("faultbox").hidden = !s.error[step];
    part("fault").textContent = s.error[step];
    const rows = [], change = s.progress[step] - s.before[step];
    const row = (name, value, kind, extra) => {
      const dd = make("dd", kind ? { class: kind } : {}, value);
      if (extra) dd.append(make("span", { class: "delta" }, extra));
      rows.push(make("dt", {}, name), dd);
    };
    row("Progress", percent(s.progress[step]), "", Math.abs(change) > 5e-4 ? `${signed(change * 100, 1)} points` : "");
    row("Milestones", s.fresh[step].length ? s.fresh[step].join(", ") : "none new", s.fresh[step].length ? "good" : "");
    row("Danger", s.danger[step] ? "yes" : "no", s.danger[step] ? "badly" : "");
    row("Grounded", s.grounded[step] ? "yes" : "no", s.grounded[step] ? "" : "warned");
    row("Reward", Number(s.reward[step].toPrecision(4)).toString());
    const a = s.advantage[step];
    if (a !== null) row("Credit", a === 0 ? "0" : signed(a, 3), a > 0 ? "pos" : a < 0 ? "neg" : "");
    part("signals").replaceChildren(...rows);
  }

  part("back").addEventListener("click", () => go(step - 1));
  part("next").addEventListener("click", () => go(step + 1));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const n = data.episodes[episode].steps.t.length, inside = document.querySelector(".episodes").contains(document.activeElement);
    const move = {
      ArrowLeft: () => n && go(step - 1), ArrowRight: () => n && go(step + 1),
      "[": () => show(episode - 1, 0), "]": () => show(episode + 1, 0),
      ...(inside ? { Home: () => n && go(0), End: () => n && go(n - 1) } : {}),
    }[event.key];
    if (move) { move(); event.preventDefault(); }
  });
  const best = data.episodes.findIndex((e) => e.success && e.last);
  show(Math.max(0, best), 0);
})();
