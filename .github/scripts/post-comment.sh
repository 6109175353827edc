#!/usr/bin/env bash
# Writes a pull request's comment, in the place of an earlier one of the same name: post-comment.sh PR NAME FILE
# FILE comes from a job that ran the pull request's own code: it is posted as text and used for nothing else.
# Needs gh, with GH_TOKEN that may write to pull requests, and GITHUB_REPOSITORY.
set -euo pipefail

pr=$1
name=$2
file=$3
marker="<!-- geocrop-storage comment: $name -->"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
  echo "$marker"
  # Whatever marker the file brings is not taken for one of ours.
  head -c 60000 "$file" | sed 's/<!-- geocrop-storage/<!--/'
  printf '\n<sub>Made by the code of this pull request.</sub>\n'
} >"$body"

former=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$pr/comments?per_page=100" \
  --jq ".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$marker\"))) | .id" | sed -n 1p)
if [ -n "$former" ]; then
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$former" --field "body=@$body"
  echo "comment $former of pull request $pr updated"
else
  gh api --silent --method POST "repos/$GITHUB_REPOSITORY/issues/$pr/comments" --field "body=@$body"
  echo "comment on pull request $pr made"
fi
