#!/usr/bin/env bash
# Pulumi's own preview of a stack, policies included, as Markdown: engine-preview.sh STACK FILE
# Outputs are left out, and the engine masks what is marked as a secret. Needs the CLI's credentials.
set -euo pipefail

stack=$1
file=$2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
code=0
npx pulumi preview --stack "$stack" --diff --suppress-outputs --policy-pack policy \
  --non-interactive --color never >"$log" 2>&1 || code=$?
cat "$log"
{
  printf '### Stack %s, by the engine: exit code %s\n\n' "$stack" "$code"
  printf '<details><summary>The end of its report</summary>\n\n~~~~~~~~\n'
  tail -c 50000 "$log" | sed 's/~~~~~~~~/~~~/g'
  printf '\n~~~~~~~~\n\n</details>\n'
} >"$file"
exit "$code"
