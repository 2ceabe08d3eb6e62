"""Prints the table of a run and writes benches/RESULTS.md and benches/results.svg. Called by benches/run.

Usage: report.py FOLDER     with a file a measurement in it: one number a line, the rounds of that measurement.
"""

import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys

folder, here = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent


def median(name):
    file = folder / name
    return statistics.median(float(line) for line in file.read_text().split()) if file.exists() else None


RATIOS = [
    ("refresh", "refresh: hash, rotate in one Lua call, sign", 0.75),
    ("client_credentials", "client credentials: hash and sign", 0.8),
    ("introspect", "introspection: hash, verify, read once", 0.8),
]
lines = ["| a second, median of the rounds | server | floor | ratio | wanted |", "|---|---:|---:|---:|---:|"]
bars = []
for name, label, wanted in RATIOS:
    server, floor = median(name), median(f"{name}.floor")
    lines.append(f"| {label} | {server:,.0f} | {floor:,.0f} | {server / floor:.2f} | {wanted} |")
    bars.append((name.replace("_", " "), server, floor))
for peer, label in [("oidc", "node-oidc-provider"), ("fastapi", "the FastAPI tutorial")]:
    if median(peer):
        ratio = median("refresh") / median(peer)
        lines.append(f"| refreshes of {label}, two processes | | {median(peer):,.0f} | {ratio:.1f} | {5 if peer == 'oidc' else 3.5} |")
lines.append(f"| a constant answer | | {median('constant.floor'):,.0f} | | |")

cpu = ["| processor time a refresh, µs | server | floor |", "|---|---:|---:|"]
for what, label in [("cpu", "the server"), ("redis", "Redis")]:
    cpu.append(f"| {label} | {median(f'{what}.refresh'):.0f} | {median(f'{what}.refresh.floor'):.0f} |")

steady = [
    "| 200 refreshes a second, steadily | served a second | p99, ms | logins a second |",
    "|---|---:|---:|---:|",
    f"| quiet | {median('steady.ok'):.0f} | {median('steady.p99'):.1f} | |",
    f"| beside 32 login workers | {median('flooded.ok'):.0f} | {median('flooded.p99'):.1f} | {median('flooded.logins'):.0f} |",
    f"| the floor, quiet | {median('steady.ok.floor'):.0f} | {median('steady.p99.floor'):.1f} | |",
    f"| the floor, beside 32 login workers | {median('flooded.ok.floor'):.0f} | {median('flooded.p99.floor'):.1f} | |",
]
logins = [
    "| logins | a second |",
    "|---|---:|",
    f"| 32 workers, nothing else | {median('logins'):.0f} |",
    f"| 32 workers beside 64 connections that refresh as fast as they can | {median('saturated.logins'):.0f} |",
    f"| argon2id alone on this machine, by the same crate | {median('argon2'):.0f} |",
]
small = [
    "| small | |",
    "|---|---:|",
    f"| resident, idle | {median('rss.idle') / 1024:.1f} MiB, of which {median('arenas'):.0f} MiB are the hash pool's |",
    f"| resident, after all of this | {median('rss.loaded') / 1024:.1f} MiB |",
    f"| from the start to the first answer | {median('start'):.0f} ms |",
    f"| the binary | {median('binary') / 1e6:.1f} MB |",
]

cores = os.cpu_count()
model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
commit = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=here, capture_output=True, text=True).stdout.strip()
head = f"""# Measured

By `benches/run`, in one go, on {cores} cores ({model}), on {datetime.date.today()}, at {commit}. The load generator and Redis
share the cores with what is measured, so only the ratios say something about the server; on another machine the numbers
differ and the ratios hardly do. {len((folder / 'argon2').read_text().split())} rounds, in which all take turns; refreshes, client credentials and introspection have three turns in each.

The floors answer the same requests with the least that could do: see `load/src/bin/floor.rs`. They check nothing, log
nothing, know one client and would be a danger to anybody who ran them.

![Requests a second, beside the floor](results.svg)
"""
report = "\n\n".join([head.strip(), *("\n".join(part) for part in (lines, cpu, steady, logins, small))]) + "\n"
notes = here / "NOTES.md"
if notes.exists():
    report += "\n" + notes.read_text()
(here / "RESULTS.md").write_text(report)
print(report)

top = max(max(server, floor) for _, server, floor in bars)
svg = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {40 + 70 * len(bars)}" font-family="sans-serif" font-size="13" '
    'role="img" aria-label="Requests a second of the server and of its floor">'
    '<rect width="100%" height="100%" fill="#fff"/>'
]
for index, (name, server, floor) in enumerate(bars):
    y = 20 + 70 * index
    svg.append(f'<text x="10" y="{y + 24}" fill="#222">{name}</text>')
    for offset, value, colour, label in [(0, server, "#2f6f4f", "server"), (24, floor, "#b9c4bd", "floor")]:
        width = 340 * value / top
        svg.append(f'<rect x="150" y="{y + offset}" width="{width:.0f}" height="20" fill="{colour}"/>')
        svg.append(f'<text x="{156 + width:.0f}" y="{y + offset + 15}" fill="#222">{value:,.0f} ({label})</text>')
svg.append("</svg>\n")
(here / "results.svg").write_text("\n".join(svg))
