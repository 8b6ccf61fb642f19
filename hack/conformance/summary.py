#!/usr/bin/env python3
"""Sums up what the conformance suite wrote with -test.v=test2json: which tests failed and why, and which took longest.

  summary.py LOG
"""

import re
import sys

SWITCH = re.compile(r"\x16?=== (RUN|PAUSE|CONT|NAME)\s+(\S*)")
END = re.compile(r"\x16?\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)")
SLOW = 10


def parse(lines):
    """What each test wrote, and its result with the seconds it took."""
    written, results, current = {}, {}, ""
    for line in lines:
        line = line.rstrip("\n")
        if match := SWITCH.match(line):
            current = match[2]
        elif match := END.match(line):
            results[match[2]] = (match[1], float(match[3]))
            current = match[2]
        else:
            written.setdefault(current, []).append(line)
    return written, results


def reasons(lines):
    """What an assertion says of its failure; without one, the end of what was written."""
    found, wanted = [], False
    for line in lines:
        text = line.strip()
        if head := re.match(r"(Error Trace|Error|Test|Messages):\s*(.*)", text):
            wanted = head[1] in ("Error", "Messages")
            text = head[2]
        elif re.match(r"\S+\.go:\d+:", text):
            wanted = False
        if wanted and text:
            found.append(text)
    return found or [line.strip() for line in lines[-4:]]


def main(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        written, results = parse(file)
    tests = {name: result for name, result in results.items() if name.count("/") == 1}
    failed = [name for name, (result, _) in results.items() if result == "FAIL"]
    # A test fails because a part of it does: that part says why.
    parts = [name for name in failed if not any(other.startswith(name + "/") for other in failed)]
    for name in sorted(parts):
        print(f"FAILED {name.partition('/')[2] or name}")
        for line in reasons(written.get(name, []))[:12]:
            print(f"    {line[:400]}")
    unfinished = sorted({name for name in written if name.count("/") == 1} - set(tests))
    for name in unfinished:
        print(f"NOT ENDED {name.partition('/')[2]}")
    count = {result: sum(1 for it, _ in tests.values() if it == result) for result in ("PASS", "FAIL", "SKIP")}
    print(f"{count['PASS']} tests passed, {count['FAIL']} failed, {count['SKIP']} did not apply")
    ran = [(seconds, name) for name, (result, seconds) in tests.items() if result != "SKIP"]
    slowest = ", ".join(f"{name.partition('/')[2]} {seconds:.0f} s" for seconds, name in sorted(ran, reverse=True)[:SLOW])
    print(f"{sum(seconds for seconds, _ in ran):.0f} s in all tests together; the slowest: {slowest}")
    if not results:
        sys.exit("the suite ended before its first test: " + "\n".join(written.get("", [])[-15:]))


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(sys.argv[1])
