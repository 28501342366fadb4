"""Attacks on a sandbox, each with a control that shows in the same run that the attack would otherwise work."""

from agentgym.containers.probes import files, kernel, network, processes, resources
from agentgym.containers.probes.probe import LIMITS, PROBES, Finding, Host, Probe, run_probes

__all__ = [
    "LIMITS",
    "PROBES",
    "Finding",
    "Host",
    "Probe",
    "files",
    "kernel",
    "network",
    "processes",
    "resources",
    "run_probes",
]
