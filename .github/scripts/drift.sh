#!/usr/bin/env bash
# Looks for differences between a stack and what is live, and keeps one issue on them: drift.sh STACK
# Nothing is changed. Needs the CLI's credentials; gh, GH_TOKEN, GITHUB_REPOSITORY; and for the link RUN_URL.
set -euo pipefail

stack=$1
title="Drift in stack $stack"
log=$(mktemp)
body=$(mktemp)
trap 'rm -f "$log" "$body"' EXIT
code=0
# A refresh without the program's tunnel would take every bucket for gone.
npx pulumi preview --stack "$stack" --refresh --run-program --expect-no-changes --diff --suppress-outputs \
  --non-interactive --color never >"$log" 2>&1 || code=$?
cat "$log"
number=$(gh issue list --state open --search "in:title \"$title\"" --json number,title \
  --jq ".[] | select(.title == \"$title\") | .number" | sed -n 1p)

if [ "$code" -eq 0 ]; then
  echo "stack $stack is as declared"
  if [ -n "$number" ]; then gh issue close "$number" --comment "As declared again: ${RUN_URL:-}"; fi
  exit 0
fi
{
  printf 'What is live differs from what is declared, or could not be compared: %s\n\n~~~~~~~~\n' "${RUN_URL:-}"
  tail -c 50000 "$log" | sed 's/~~~~~~~~/~~~/g'
  printf '\n~~~~~~~~\n\nAn update of stack %s makes it as declared. If the change is meant, declare it.\n' "$stack"
} >"$body"
if [ -n "$number" ]; then
  gh issue edit "$number" --body-file "$body"
else
  gh issue create --title "$title" --body-file "$body"
fi
exit "$code"
