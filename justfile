# The tasks of development. CI runs `just check`.

set shell := ["bash", "-euo", "pipefail", "-c"]

export RUSTDOCFLAGS := "-D warnings"

# The number of departures that CI simulates with all faults, and the first seed.
departures := "100000"
seed := "1"

# Lists the recipes.
default:
    @just --list

# The steps of `just check`. The order finds most mistakes early.
steps := "fmt lint test api doc supply infra simulate-shortly fuzz-shortly lambda"

# Runs every check until one fails, and prints the time of each step.
check:
    #!/usr/bin/env bash
    set -euo pipefail
    took=()
    report() { printf '\n== what each step took ==\n'; printf '%s\n' "${took[@]}"; }
    trap report EXIT
    for step in {{steps}}; do
        printf '\n== just %s ==\n' "$step"
        began=$SECONDS
        {{just_executable()}} --justfile {{justfile()}} "$step" || { took+=("$(printf '%5d s  %s, which failed' $((SECONDS - began)) "$step")"); exit 1; }
        took+=("$(printf '%5d s  %s' $((SECONDS - began)) "$step")")
    done

# Checks the format of the Rust code.
fmt:
    cargo fmt --all --check

# Runs clippy. Every lint is an error.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Cargo unites the features of the packages that it builds. The recipes below build the whole workspace, so that dependencies are built
# once. `cargo test -p` of one package may build some of them again.

# Runs all tests, with those in the documentation and the wrong drivers that the simulator must catch. Test binaries run in parallel.
test *arguments:
    python3 tests/side_by_side.py {{arguments}}

# Runs one row or test of the rules by a part of its name: the fastest test of a changed rule.
row name:
    cargo test --quiet -p decamp-core --test rows {{name}}

# Simulates departures without building the command, and prints each violated rule with its first seed.
judge departures="100000" first="1" faults="all":
    cargo run --quiet --release -p decamp-sim --example judge -- {{departures}} {{first}} {{faults}}

# Tests the service against its OpenAPI document with schemathesis: under a minute.
api *arguments:
    cargo test --quiet --workspace --no-run
    python3 tests/api/check.py {{arguments}}

# Runs only the wrong drivers, and prints how the simulator caught each.
mutants:
    cargo test --workspace --test mutants -- --nocapture

# Builds the documentation with private items, checks the links of the book, and builds the book if mdbook is installed.
doc:
    cargo doc --workspace --no-deps --document-private-items
    python3 tests/docs/links.py --book

# Builds the Lambda function as for a release. lambda/crates.txt lists every crate that it links, so that a review shows a new one.
lambda:
    @if command -v cargo-zigbuild >/dev/null; then {{just_executable()}} package x86_64; else cargo build --profile lambda -p decamp-lambda; fi
    @diff lambda/crates.txt <(cargo tree -p decamp-lambda -e normal --prefix none --format '{lib}' | sed 's/ (\*)$//' | sort -u) || { echo "lambda/crates.txt differs from the crates that the Lambda function links" >&2; exit 1; }
    @if cargo tree -p decamp -e normal,features --prefix none | grep -F 'decamp-sim feature "mutants"'; then echo "decamp contains the wrong drivers" >&2; exit 1; fi

# Building cargo-deny takes longer than the other checks, so CI does not install it. tests/tidy.rs finds unused dependencies, so that CI does
# not build cargo-machete, which takes two minutes of processor time.

# Checks licences, bans, sources and the GitHub workflows, if the tools are installed.
supply:
    @if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; else echo "cargo deny: skipped, it is not installed"; fi
    @if command -v zizmor >/dev/null; then zizmor --offline --persona auditor .github; else echo "zizmor: skipped, it is not installed"; fi
    @if command -v actionlint >/dev/null; then actionlint; else echo "actionlint: skipped, it is not installed"; fi

# Builds the Lambda function's zips for arm64 and x86_64, with their sums; `--twice` builds each again and compares.
package *arguments:
    python3 tests/infra/package.py {{arguments}}

# Builds an older function and tests that it works with the environment of a newer one (lambda/tests/upgrades).
upgrade-from revision:
    git worktree add --force --detach target/upgrade/sources {{revision}}
    cd target/upgrade/sources && CARGO_TARGET_DIR=../build cargo build --workspace --bin bootstrap
    cp target/upgrade/build/debug/bootstrap target/upgrade/bootstrap
    git worktree remove --force target/upgrade/sources
    cargo test --workspace --test bootstrap upgrades -- --nocapture

# Runs every check of the Terraform module, then the function with the environment of the complete example.
infra:
    python3 tests/infra/check.py
    cargo test --workspace --test bootstrap wired -- --nocapture

# Tests that a named layer notices each deliberate fault in the module: a quarter of an hour.
infra-mutants *words:
    python3 tests/infra/mutants.py {{words}}

# Tests that the snapshots show generated faults in the arguments of the module: 200 of them, or --all.
infra-faults *arguments:
    python3 tests/infra/generated.py {{arguments}}

# Writes the snapshots of a changed module. Review the difference.
infra-snapshots:
    python3 tests/infra/snapshots.py --write
    git diff --stat -- infra/tests/combinations/snapshots

# Simulates departures with all faults. Any violation fails.
simulate:
    cargo run --release -- simulate --departures {{departures}} --seed {{seed}} --faults all

# Simulates ten thousand departures with the tests' binary, which checks for overflow, and all of them with an optimised simulator.
simulate-shortly:
    cargo test --quiet --workspace --no-run
    ${CARGO_TARGET_DIR:-target}/debug/decamp simulate --departures 10000 --seed {{seed}} --faults all
    {{just_executable()}} --justfile {{justfile()}} judge {{departures}} {{seed}}

# Runs the rehearsal and writes its report.
rehearse:
    cargo run --release -- rehearse --report target/rehearsal.html

# Rehearses the default plan with 20 consecutive seeds and checks each result: an hour.
seeds *arguments:
    cargo build --release
    python3 tests/rehearsal/seeds.py {{arguments}}

# Rehearses 200 departures under chaos with at least a million requests: less than half an hour.
soak:
    cargo run --release -- rehearse --driver decamp --chaos --nodes 8 --rounds 25 --rate 900 --report target/soak.html

# One replica of the service runs 100,000 departures. Its memory must not grow after the first tenth: an hour and five minutes.
endure departures="100000":
    cargo build --release
    cargo run --release --example endurance -- {{departures}}

# `just test` runs the next test ten times as fast, with fewer instances at a lower rate.

# Sweeps of the real Lambda binary keep the hooks of 5,000 instances alive at the default rates while Nomad is unavailable: 41 minutes.
five-thousand:
    DECAMP_FIVE_THOUSAND=1 cargo test --workspace --test bootstrap five_thousand -- --nocapture

# Makes the pictures of a report with Debian's Chromium: the whole report, and its top for the README.
picture:
    cargo run --release -- rehearse --report target/rehearsal.html
    mkdir -p docs
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=960,2960 --screenshot=docs/rehearsal.png "file://$PWD/target/rehearsal.html"
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=960,600 --screenshot=docs/rehearsal-top.png "file://$PWD/target/rehearsal.html"

# Measures the figures of docs/figures.md.
bench:
    cargo run --release -- simulate --departures 1000000 --seed {{seed}} --faults all
    cargo run --release -- simulate --departures 200000 --seed {{seed}} --faults none
    cargo run --release -p decamp-sim --example alarms -- 1000 1000
    cargo run --release --example fleet -- 1000
    cargo build --release
    cargo run --release --example serving -- 1000
    {{just_executable()}} --justfile {{justfile()}} lambda
    cargo test --quiet --workspace --no-run
    ${CARGO_TARGET_DIR:-target}/debug/examples/coldstart "$(ls target/package/x86_64/bootstrap target/lambda/bootstrap 2>/dev/null | head -1)"

# Feeds every parser with generated inputs. Each input can be made again from its number.
fuzz-shortly:
    cargo test --quiet --workspace --no-run
    ${CARGO_TARGET_DIR:-target}/debug/examples/hammer --inputs 100000

# The same with ten million inputs for each parser.
fuzz:
    cargo run --release --example hammer -- --inputs 10000000

# Writes the stories of crates/sim/tests/stories after a rule has changed. Review the difference.
stories:
    cargo run -p decamp-sim --example stories
    git diff --stat -- crates/sim/tests/stories

# Runs the tests with real agents, if Nomad and Consul are on the path.
lab:
    @command -v nomad >/dev/null || echo "nomad is not on the path: crates/hashicorp/tests/agents/real_nomad.rs will print skipped"
    @command -v consul >/dev/null || echo "consul is not on the path: crates/hashicorp/tests/agents/real_consul.rs will print skipped"
    cargo test -p decamp-hashicorp --test agents -- --nocapture

# Writes the generated pages of docs/. A test fails when they are stale.
docs:
    DECAMP_WRITE_REFERENCE=1 cargo test --quiet --workspace --test cli reference
    python3 tests/infra/tables.py
    python3 tests/docs/links.py --book

# Prepares the commit that will be tagged: the version, the changelogs and the zips' sums in the module.
prepare version:
    python3 tests/release/prepare.py {{version}}

# Builds the container image for both architectures into target/release-files, and runs a departure with each.
image:
    python3 tests/release/make.py image

# A release has the zips, binaries, container image, module, bills of materials and sums.

# Builds all files of a release into target/release-files; `--twice` builds each again and compares.
release version *arguments:
    python3 tests/release/make.py {{version}} {{arguments}}
