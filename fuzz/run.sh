#!/bin/bash
# Runs every fuzz target for the given number of seconds, starting from the seeds in the repository.
# Stable Rust will do: RUSTC_BOOTSTRAP allows the coverage flags. The crates forbid unsafe code, so no sanitizer.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-10}
tools=$PWD/../target/tools
export PATH="$tools/bin:$PATH:$HOME/.cargo/bin" RUSTC_BOOTSTRAP=1
command -v cargo-fuzz >/dev/null || cargo install --quiet --debug --locked --root "$tools" cargo-fuzz
mkdir -p target
# cargo-fuzz would bring a stale lock file up to date silently.
cargo metadata --locked --format-version 1 >target/metadata.json
# All at once, so that what they share is compiled once.
cargo fuzz build --fuzz-dir . --sanitizer none 2>target/build.log || { cat target/build.log >&2; exit 1; }
for target in fuzz_targets/*.rs; do
    target=$(basename "$target" .rs)
    [ "$target" = conversation ] && continue
    # New inputs go to the first directory, the seeds are only read.
    mkdir -p "target/corpus/$target"
    echo "fuzz $target for $seconds s"
    log=target/corpus/$target.log
    if ! cargo fuzz run --fuzz-dir . --sanitizer none "$target" "target/corpus/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -verbosity=0 >"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
done
