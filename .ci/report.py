"""What each step took, in the order of their beginnings, and the ten slowest tests."""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def seconds(text):
    """Of "1m2.345s"."""
    minutes, rest = re.fullmatch(r"(\d+)m([\d.]+)s", text).groups()
    return int(minutes) * 60 + float(rest)


def clock(value):
    return f"{int(value) // 60}:{int(value) % 60:02}"


def steps(notes):
    rows = []
    for line in notes.read_text().splitlines():
        name, begun, ended, children, said = line.split("\t")
        processor = sum(seconds(time) for time in children.split())
        rows.append((float(begun), float(ended), processor, name, int(said)))
    return sorted(rows)


def main(notes, tests):
    rows = steps(notes)
    first = rows[0][0]
    print("== steps: from, to, what it took, and of that on a processor (minutes:seconds)")
    for begun, ended, processor, name, said in rows:
        failed = "" if said == 0 else f"  FAILED ({said})"
        print(f"{clock(begun - first):>6} {clock(ended - first):>6} {clock(ended - begun):>6} {clock(processor):>6}  {name}{failed}")
    total = max(ended for _, ended, *_ in rows) - first
    print(f"{'':>13} {clock(total):>6} {clock(sum(row[2] for row in rows)):>6}  all")
    # The shell's own pattern, where there is none.
    cases = [case for file in tests if file.exists() for case in xml.parse(file).getroot().iter("testcase")]
    if cases:
        timed = sorted(((float(case.get("time")), case.get("classname"), case.get("name")) for case in cases), reverse=True)
        print(f"== the slowest of {len(timed)} tests (seconds)")
        for time, program, name in timed[:10]:
            print(f"{time:>6.1f}  {program} {name}")


main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
