#!/usr/bin/env bash
# Prints the number of the open pull request whose head a finished run was of, nothing where there is none any more.
# Everything comes from the run's event, which GitHub writes; of the run's artifacts nothing is believed.
# Needs gh, GH_TOKEN, GITHUB_REPOSITORY, and of the run: HEAD_OWNER, HEAD_BRANCH, HEAD_SHA.
set -euo pipefail

gh api --method GET "repos/$GITHUB_REPOSITORY/pulls" --raw-field state=open \
  --raw-field "head=$HEAD_OWNER:$HEAD_BRANCH" \
  --jq ".[] | select(.head.sha == env.HEAD_SHA) | .number" | sed -n 1p
