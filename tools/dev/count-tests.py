#!/usr/bin/env python3
"""count-tests.py CTEST.xml LIT.xml

Prints "N passed, N failed[, N skipped]" for JUnit results and exits with 1 if anything
failed or nothing ran. CTest counts the lit suite as one test; where LIT.xml exists its
tests are counted one by one instead.
"""
import sys
import xml.etree.ElementTree as xml


def cases(path):
    try:
        return list(xml.parse(path).getroot().iter("testcase"))
    except (OSError, xml.ParseError):
        return None


def verdict(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        # A test whose program is missing counts as a failure, not as a skip.
        skipped = case.find("skipped")
        reason = (skipped.get("message") or "") if skipped is not None else ""
        return "failed" if "Unable to find executable" in reason else "skipped"
    return "failed" if case.get("status") == "fail" else "passed"


def main():
    tests, lit = cases(sys.argv[1]), cases(sys.argv[2])
    if not tests:
        print("0 passed, 1 failed")
        return 1
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in tests:
        outcome = verdict(case)
        if case.get("name") == "lit" and lit:
            parts = [verdict(part) for part in lit]
            # Lit itself may have failed without one failing test (a broken config).
            if outcome == "failed" and "failed" not in parts:
                parts.append("failed")
            for part in parts:
                counts[part] += 1
        else:
            counts[outcome] += 1
    line = f"{counts['passed']} passed, {counts['failed']} failed"
    if counts["skipped"]:
        line += f", {counts['skipped']} skipped"
    print(line)
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
