#!/bin/sh
# Build the wheel, install it into an empty environment, and use it from an empty directory.
set -eu
python=$1
root=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m build --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || {
	cat "$work/build.log" >&2
	exit 1
}
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install \
	-c "$root/constraints.txt" "$work"/dist/*.whl
mkdir "$work/empty"
cd "$work/empty"
lifecycle="$work/venv/bin/lifecycle"
"$lifecycle" --version
"$lifecycle" rules check
"$lifecycle" rules test
"$lifecycle" simulate --members 50 --days 30 --seed 1 --out events.jsonl
"$lifecycle" replay events.jsonl --out triggers.jsonl --json
test -s triggers.jsonl
"$lifecycle" contracts --out contracts
"$work/venv/bin/python" -m app --help >/dev/null
"$work/venv/bin/python" -c 'from importlib.resources import files
assert (files("app") / "console" / "index.html").read_text(encoding="utf-8")'
echo "wheel check: passed"
