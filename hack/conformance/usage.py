#!/usr/bin/env python3
"""What the controller and the proxies of the project's own node use.

  usage.py watch CGROUP FILE    looks at the processes in CGROUP every second; when it is told to end, writes FILE. What they
                                had used before the first look does not count.
  usage.py print FILE           prints it as a table
"""

import json
import os
import signal
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
KINDS = ["controller", "Envoy"]


def read(*path):
    with open(os.path.join("/proc", *path), encoding="utf-8", errors="replace") as file:
        return file.read()


def kind_of(pid):
    """Which of KINDS a process is, or None."""
    arguments = read(pid, "cmdline").split("\0")
    program = os.path.basename(arguments[0])
    if program == "postern" and arguments[1:2] == ["controller"]:
        return "controller"
    return "Envoy" if program == "envoy" else None


def processes(cgroup, known):
    """Those of the node: (pid, time of the start), kind, seconds of CPU, bytes of memory and of that what is not of files."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = read(pid, "stat").rpartition(")")[2].split()
            identity = (pid, fields[19])
            # A program is loaded after the process began, so only what is one of ours is remembered.
            if identity not in known:
                if f"/{cgroup}/" not in read(pid, "cgroup") or not (kind := kind_of(pid)):
                    continue
                known[identity] = kind
            status = dict(line.split(":", 1) for line in read(pid, "status").splitlines())
            memory = [int(status[key].split()[0]) * 1024 for key in ("VmRSS", "RssAnon")]
        except (OSError, KeyError):
            continue  # it has ended
        yield identity, known[identity], (int(fields[11]) + int(fields[12])) / TICKS, *memory


def watch(cgroup, path):
    known, cpu, earlier = {}, {}, None
    most = {kind: {"processes": 0, "together": 0, "private": 0, "one": 0} for kind in KINDS}

    def finish(*_):
        for kind in KINDS:
            most[kind]["cpu"] = sum(
                seconds - (earlier or {}).get(identity, 0) for identity, seconds in cpu.items() if known[identity] == kind
            )
        with open(path, "w", encoding="utf-8") as file:
            json.dump(most, file)
        sys.exit()

    signal.signal(signal.SIGTERM, finish)
    while True:
        now = {kind: {"processes": 0, "together": 0, "private": 0, "one": 0} for kind in KINDS}
        for identity, kind, seconds, memory, private in processes(cgroup, known):
            cpu[identity] = seconds
            now[kind]["processes"] += 1
            now[kind]["together"] += memory
            now[kind]["private"] += private
            now[kind]["one"] = max(now[kind]["one"], memory)
        for kind, values in now.items():
            for key, value in values.items():
                most[kind][key] = max(most[kind][key], value)
        earlier = dict(cpu) if earlier is None else earlier
        time.sleep(1)


def show(path):
    with open(path, encoding="utf-8") as file:
        most = json.load(file)
    heads = ["", "at once", "memory together", "without files", "of one", "CPU seconds"]
    rows = [
        [kind, str(use["processes"])]
        + [f"{use[key] / 1048576:.0f} MiB" for key in ("together", "private", "one")]
        + [f"{use['cpu']:.1f}"]
        for kind, use in most.items()
    ]
    print("the most that was used:")
    for row in [heads, *rows]:
        print("  " + "  ".join(f"{cell:>{len(head) or 10}}" for cell, head in zip(row, heads)))


match sys.argv[1:]:
    case ["watch", cgroup, path]:
        watch(cgroup, path)
    case ["print", path]:
        show(path)
    case _:
        sys.exit(__doc__)
