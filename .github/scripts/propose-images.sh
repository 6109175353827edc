#!/usr/bin/env bash
# Asks by pull request that the prod stack use new images: propose-images.sh FOLDER
# In FOLDER, each file is named by an image's key and holds its reference by digest. Needs gh and GH_TOKEN.
set -euo pipefail

folder=$1
branch=images
for file in "$folder"/*; do
  node .github/scripts/set-image.ts prod "$(basename "$file")" "$(cat "$file")"
done
node tools/preview/golden-main.ts
if git diff --quiet; then
  echo "the stack uses these images already"
  exit 0
fi
git switch --quiet --force-create "$branch"
git -c user.name='github-actions[bot]' -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --all --message "Use the images of ${GITHUB_SHA:-this commit}"
git push --quiet --force origin "$branch"
if [ -z "$(gh pr list --head "$branch" --state open --json number --jq '.[].number')" ]; then
  gh pr create --head "$branch" --title "Use new images in prod" \
    --body "Built, signed and pushed by \`images.yml\`. Close and open this pull request to run its checks."
fi
