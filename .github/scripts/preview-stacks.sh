#!/usr/bin/env bash
# Previews every stack without credentials: preview-stacks.sh BASE OUTPUT_FOLDER
# The reports go to OUTPUT_FOLDER/<stack>.md. Fails when a report could not be made or a policy is broken; a change
# that puts data at risk does not fail: that is for the reviewer to judge.
set -euo pipefail

base=$1
out=$2
mkdir -p "$out"
failed=0
for file in Pulumi.*.yaml; do
  stack=${file#Pulumi.}
  stack=${stack%.yaml}
  code=0
  node tools/preview/main.ts --stack "$stack" --base "$base" --markdown >"$out/$stack.md" || code=$?
  echo "stack $stack: exit code $code"
  # A wrong command line ends with 2, as a report of changes does, but makes no report.
  if [ "$code" -eq 1 ] || [ ! -s "$out/$stack.md" ]; then
    failed=1
    [ -s "$out/$stack.md" ] || printf '### Stack %s: no preview\n\nThe log of the job says why.\n' "$stack" >"$out/$stack.md"
  fi
  cat "$out/$stack.md" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
done
exit "$failed"
