#!/usr/bin/env bash
# Checks the Helm chart without a cluster: what it renders, for the values in tests/chart/rendered/<release>/, is what
# is written beside them; what tests/chart/refused/ holds is refused for the reason in its first line; the definitions
# of resources arrive unchanged. With --write, what is rendered is written there, to be read in a diff.
#
# Helm is the program that HELM names, or the one on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly CHART=charts/tidegate CASES=tests/chart
# Helm without a cluster pretends to one of a version that depends on how it was built.
readonly KUBERNETES=1.34.0
helm=${HELM:-helm}

fail() {
    echo "chart: $*" >&2
    exit 1
}

render() { "$helm" template --kube-version "$KUBERNETES" --namespace tidegate "$@"; }

# The definitions are compared by themselves below: they are long, and change with the code.
render_case() {
    local release=$1
    render "$release" "$CHART" --values "$CASES/rendered/$release/values.yaml" --set crds.install=false
}

write_cases() {
    local folder
    for folder in "$CASES"/rendered/*/; do
        render_case "$(basename "$folder")" >"$folder/expected.yaml"
    done
}

check_cases() {
    local folder release
    for folder in "$CASES"/rendered/*/; do
        release=$(basename "$folder")
        "$helm" lint --strict --quiet --kube-version "$KUBERNETES" "$CHART" --values "$folder/values.yaml" ||
            fail "helm lint finds fault with the chart for the values of $folder"
        diff -u "$folder/expected.yaml" <(render_case "$release") ||
            fail "$folder is rendered differently; if that is meant, run \`make generate\`"
    done
}

check_refusals() {
    local file reason said
    for file in "$CASES"/refused/*.yaml; do
        reason=$(sed -n '1s/^# refused: //p' "$file")
        [[ -n $reason ]] || fail "the first line of $file must be \`# refused: <part of the message>\`"
        if said=$(render tidegate "$CHART" --values "$file" 2>&1 >/dev/null); then
            fail "$file is accepted"
        fi
        [[ $said == *"$reason"* ]] || fail "$file is refused, but not with \`$reason\`: $said"
    done
}

# A definition is what its file says, but for what the chart puts at the beginning of its metadata.
check_definitions() {
    local rendered added
    rendered=$(render tidegate "$CHART" --show-only templates/crds.yaml)
    added=$(sed -n '/^metadata:$/,/^  name:/p' <<<"$rendered" | sed '1d;/^  name:/,$d')
    [[ $added == *'helm.sh/resource-policy: keep'* ]] ||
        fail "the definition of StreamJob is not kept when the release goes: $added"
    diff -u "$CHART/files/crds/streamjob.yaml" \
        <(sed '/^---$/d;/^# Source: /d' <<<"$rendered" | sed '/^  annotations:$/,/^  name:/{/^  name:/!d}') ||
        fail "the definition of StreamJob is not rendered as it is in the file"
}

command -v "$helm" >/dev/null || fail "there is no \`$helm\`; put helm on PATH, or its path into HELM"
case ${1-} in
    --write)
        write_cases
        ;;
    '')
        check_cases
        check_refusals
        check_definitions
        echo 'chart: rendered as expected'
        ;;
    *)
        fail "unknown argument \`$1\`; there is only --write"
        ;;
esac
