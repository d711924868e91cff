#!/usr/bin/env bash
# Installs what the tests need and runs all of them: format, lints, unit tests, end-to-end tests against real servers, documentation.
#
#   bash tests/run.sh           everything
#   bash tests/run.sh --quick   only what needs no server: the tests beside the code
#
# Ends with the test runner's last lines and the time each part took; the exit code is 0 if everything passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=''
for argument in "$@"; do
    case "$argument" in
        --quick) quick=yes ;;
        *)
            printf 'error: unknown argument "%s"\n\nhint: Use no argument, or --quick.\n' "$argument" >&2
            exit 2
            ;;
    esac
done

# All parts use one profile, the whole workspace and all features, so that each finds what the part before it has built.
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

parts=()
part='start'
results="$(mktemp)"
finish() {
    local code=$?
    printf '\n== summary\n'
    if [ -s "$results" ]; then
        grep -E '^test result:' "$results" | awk '
            { passed += $4; failed += $6; ignored += $8; binaries += 1 }
            END { printf "tests: %d passed, %d failed, %d ignored, in %d test binaries\n", passed, failed, ignored, binaries }'
    fi
    if [ "${#parts[@]}" -gt 0 ]; then
        printf '%s\n' "${parts[@]}"
    fi
    rm -f "$results"
    if [ "$code" = 0 ]; then
        printf 'passed in %d s\n' "$SECONDS"
    else
        printf 'FAILED after %d s, in: %s\n' "$SECONDS" "$part"
    fi
}
trap finish EXIT

run() {
    part="$1"
    shift
    local begun=$SECONDS
    printf '\n== %s  %s\n' "$(date -u +%H:%M:%SZ)" "$part"
    "$@"
    parts+=("$(printf '%6d s  %s' "$((SECONDS - begun))" "$part")")
    printf '   %s free\n' "$(df -Pk . | awk 'NR == 2 { printf "%.1f GB", $4 / 1048576 }')"
}

# Shows a command's output and keeps it for the summary. The command's own exit code counts (pipefail).
tests() {
    "$@" 2>&1 | tee -a "$results"
}

if [ -n "$quick" ]; then
    run 'unit tests' tests cargo test --workspace --all-features --locked --no-fail-fast --lib --bins
    exit 0
fi

run 'services' bash tests/services.sh
run 'format' cargo fmt --all --check
run 'lints' cargo clippy --workspace --all-features --all-targets --locked -- --deny warnings
run 'build' cargo build --workspace --all-features --bins --tests --locked
run 'unit tests' tests cargo test --workspace --all-features --locked --no-fail-fast --lib --bins
run 'documentation examples' tests cargo test --workspace --all-features --locked --doc
run 'end-to-end tests' tests cargo test --workspace --all-features --locked --no-fail-fast --test '*'
run 'documentation' env RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --all-features --no-deps --locked --quiet
