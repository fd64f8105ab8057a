# What is done to decamp, by name. CI runs `just check`.

set shell := ["bash", "-euo", "pipefail", "-c"]

export RUSTDOCFLAGS := "-D warnings"

# How many departures CI simulates with all faults, and from which seed.
departures := "200000"
seed := "1"

# What there is.
default:
    @just --list

# Everything that CI checks, in the order that finds most mistakes soonest.
steps := "fmt lint test api doc supply infra simulate-shortly fuzz-shortly lambda"

# Everything that CI checks, and what each step took; a step that fails ends it.
check:
    #!/usr/bin/env bash
    set -euo pipefail
    took=()
    tell() { printf '\n== what each step took ==\n'; printf '%s\n' "${took[@]}"; }
    trap tell EXIT
    for step in {{steps}}; do
        printf '\n== just %s ==\n' "$step"
        began=$SECONDS
        {{just_executable()}} --justfile {{justfile()}} "$step" || { took+=("$(printf '%5d s  %s, which failed' $((SECONDS - began)) "$step")"); exit 1; }
        took+=("$(printf '%5d s  %s' $((SECONDS - began)) "$step")")
    done

# Is it formatted?
fmt:
    cargo fmt --all --check

# Every lint is an error.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Cargo joins the features of what it is asked to build. Everything below asks for the whole workspace, so that the dependencies are built
# once; `cargo test -p` of one package may build some of them again.

# All tests, those in the documentation too, and every wrong driver, which the simulator must catch. Test binaries run beside each other.
test *arguments:
    python3 tests/side_by_side.py {{arguments}}

# One row or other test of the rules, by a part of its name: the shortest way from a changed rule to its result.
row name:
    cargo test --quiet -p decamp-core --test rows {{name}}

# Simulated departures without building the command: each violated rule with its first seed.
judge departures="100000" first="1" faults="all":
    cargo run --quiet --release -p decamp-sim --example judge -- {{departures}} {{first}} {{faults}}

# The service against its own OpenAPI document, by schemathesis: under a minute.
api *arguments:
    cargo test --quiet --workspace --no-run
    python3 tests/api/check.py {{arguments}}

# The wrong drivers alone, and how each was caught.
mutants:
    cargo test --workspace --test mutants -- --nocapture

# The documentation, private items included; then the links of the book, and the book itself where mdbook is installed.
doc:
    cargo doc --workspace --no-deps --document-private-items
    python3 tests/docs/links.py --book

# The Lambda as it is shipped. Every crate that it links is in lambda/crates.txt: a new one is seen in review.
lambda:
    @if command -v cargo-zigbuild >/dev/null; then {{just_executable()}} package x86_64; else cargo build --profile lambda -p decamp-lambda; fi
    @diff lambda/crates.txt <(cargo tree -p decamp-lambda -e normal --prefix none --format '{lib}' | sed 's/ (\*)$//' | sort -u) || { echo "the Lambda links other crates than lambda/crates.txt lists" >&2; exit 1; }
    @if cargo tree -p decamp -e normal,features --prefix none | grep -F 'decamp-sim feature "mutants"'; then echo "decamp has the wrong drivers" >&2; exit 1; fi

# Licences, bans and sources, and the forge's workflows, where the tools are installed: to build cargo-deny takes longer than the other
# checks. Unused dependencies are found by tests/tidy.rs, so that CI does not build cargo-machete, which takes two minutes of a processor.
supply:
    @if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; else echo "cargo deny: skipped, it is not installed"; fi
    @if command -v zizmor >/dev/null; then zizmor --offline --persona auditor .github; else echo "zizmor: skipped, it is not installed"; fi
    @if command -v actionlint >/dev/null; then actionlint; else echo "actionlint: skipped, it is not installed"; fi

# The Lambda's zips, for arm64 and x86_64, with their sums; `--twice` builds each again and compares.
package *arguments:
    python3 tests/infra/package.py {{arguments}}

# An older function, for the test that it goes on with the environment of a newer one (lambda/tests/upgrades).
upgrade-from revision:
    git worktree add --force --detach target/upgrade/sources {{revision}}
    cd target/upgrade/sources && CARGO_TARGET_DIR=../build cargo build --workspace --bin bootstrap
    cp target/upgrade/build/debug/bootstrap target/upgrade/bootstrap
    git worktree remove --force target/upgrade/sources
    cargo test --workspace --test bootstrap upgrades -- --nocapture

# The Terraform module: every check, then the function as the whole example wires it.
infra:
    python3 tests/infra/check.py
    cargo test --workspace --test bootstrap wired -- --nocapture

# Deliberate faults in the module, each noticed by a named layer. Takes a quarter of an hour.
infra-mutants *words:
    python3 tests/infra/mutants.py {{words}}

# Faults that a program makes of every argument of the module, 200 or --all: each must be seen in the snapshots.
infra-faults *arguments:
    python3 tests/infra/generated.py {{arguments}}

# The snapshots of the module again, after it was changed. Read the difference.
infra-snapshots:
    python3 tests/infra/snapshots.py --write
    git diff --stat -- infra/tests/combinations/snapshots

# Departures with every fault there is; any violation fails.
simulate:
    cargo run --release -- simulate --departures {{departures}} --seed {{seed}} --faults all

# Ten thousand by the binary that the tests have, whose arithmetic is checked for overflow; all of them by the simulator built for speed.
simulate-shortly:
    cargo test --quiet --workspace --no-run
    ${CARGO_TARGET_DIR:-target}/debug/decamp simulate --departures 10000 --seed {{seed}} --faults all
    {{just_executable()}} --justfile {{justfile()}} judge {{departures}} {{seed}}

# The rehearsal, with its report.
rehearse:
    cargo run --release -- rehearse --report target/rehearsal.html

# The default plan on 20 consecutive seeds, each held to what is promised of it: an hour.
seeds *arguments:
    cargo build --release
    python3 tests/rehearsal/seeds.py {{arguments}}

# 200 departures under chaos and at least a million requests: less than half an hour.
soak:
    cargo run --release -- rehearse --driver decamp --chaos --nodes 8 --rounds 25 --rate 900 --report target/soak.html

# One replica of the service walks 100,000 departures out, and must need no more memory at the end than after a tenth: an hour and five minutes.
endure departures="100000":
    cargo build --release
    cargo run --release --example endurance -- {{departures}}

# Five thousand instances wait while Nomad is away, and sweeps of the real Lambda binary keep their hooks at the default rates: 41 minutes.
# `just test` has the same ten times as fast, with fewer instances at a lower rate.
five-thousand:
    DECAMP_FIVE_THOUSAND=1 cargo test --workspace --test bootstrap five_thousand -- --nocapture

# The pictures of a report, whole and its top for the README, by Debian's Chromium.
picture:
    cargo run --release -- rehearse --report target/rehearsal.html
    mkdir -p docs
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=960,2960 --screenshot=docs/rehearsal.png "file://$PWD/target/rehearsal.html"
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=960,600 --screenshot=docs/rehearsal-top.png "file://$PWD/target/rehearsal.html"

# The figures of docs/figures.md.
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

# A short run of the hammer over every parser; the inputs can be made again from their numbers.
fuzz-shortly:
    cargo test --quiet --workspace --no-run
    ${CARGO_TARGET_DIR:-target}/debug/examples/hammer --inputs 200000

# A long run: ten million inputs for each parser.
fuzz:
    cargo run --release --example hammer -- --inputs 10000000

# Writes the stories of crates/sim/tests/stories again, after a rule has changed. Read the difference.
stories:
    cargo run -p decamp-sim --example stories
    git diff --stat -- crates/sim/tests/stories

# How to try it on real agents: Nomad and Consul on the path, then the tests that wait for them.
lab:
    @command -v nomad >/dev/null || echo "nomad is not on the path: crates/hashicorp/tests/agents/real_nomad.rs will say skipped"
    @command -v consul >/dev/null || echo "consul is not on the path: crates/hashicorp/tests/agents/real_consul.rs will say skipped"
    cargo test -p decamp-hashicorp --test agents -- --nocapture

# The generated pages of docs/ again, from the code; a test says when they are stale.
docs:
    DECAMP_WRITE_REFERENCE=1 cargo test --quiet --workspace --test cli reference
    python3 tests/infra/tables.py
    python3 tests/docs/links.py --book

# The version, the changelogs and the zips' sums that the module knows, as they have to be in the commit that is tagged.
prepare version:
    python3 tests/release/prepare.py {{version}}

# The container image for both architectures, into target/release-files, and a departure that ends through each.
image:
    python3 tests/release/make.py image

# All files of a release, into target/release-files: zips, binaries, container image, module, bills of materials, sums. `--twice` builds each
# again and compares.
release version *arguments:
    python3 tests/release/make.py {{version}} {{arguments}}
