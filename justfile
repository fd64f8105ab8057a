# What is done to decamp, by name. CI runs `just check`.

set shell := ["bash", "-euo", "pipefail", "-c"]

export RUSTDOCFLAGS := "-D warnings"

# How many departures CI simulates with all faults, and from which seed.
departures := "200000"
seed := "1"

# What there is.
default:
    @just --list

# Everything that CI checks.
check: fmt lint test mutants doc lambda supply infra simulate fuzz-shortly

# Is it formatted?
fmt:
    cargo fmt --all --check

# Every lint is an error, with every set of features.
lint:
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy -p decamp --lib --no-default-features --features sim -- -D warnings
    cargo clippy -p decamp --lib --no-default-features -- -D warnings

# All tests, those in the documentation too.
test:
    cargo test --workspace

# Every wrong driver must be caught by the simulator.
mutants:
    cargo test -p decamp --features mutants --test mutants -- --nocapture

# The documentation, private items included.
doc:
    cargo doc --workspace --no-deps --document-private-items

# The Lambda as it is shipped; it must link neither a server nor the pretend world.
lambda:
    cargo build --profile lambda -p decamp-lambda
    @features=$(cargo tree -p decamp-lambda -e normal,features --prefix none) && for unwanted in axum 'decamp feature "sim"' 'decamp feature "cli"'; do if grep -qF "$unwanted" <<<"$features"; then echo "the Lambda links $unwanted" >&2; exit 1; fi; done

# Licences, bans, sources and unused dependencies, where the tools are installed.
supply:
    @if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; else echo "cargo deny: skipped, it is not installed"; fi
    @if command -v cargo-machete >/dev/null; then cargo machete; else echo "cargo machete: skipped, it is not installed"; fi

# The Lambda's zips, for arm64 and x86_64, with their sums; `--twice` builds each again and compares.
package *arguments:
    python3 tests/infra/package.py {{arguments}}

# The Terraform module: every check, then the function as the whole example wires it.
infra:
    cargo build --quiet -p decamp --example tables
    python3 tests/infra/check.py
    cargo test -p decamp-lambda --test bootstrap wired -- --nocapture

# Deliberate faults in the module, each noticed by a named layer. Takes a quarter of an hour.
infra-mutants *words:
    python3 tests/infra/mutants.py {{words}}

# Departures with every fault there is; any violation fails.
simulate:
    cargo run --release -- simulate --departures {{departures}} --seed {{seed}} --faults all

# The rehearsal, with its report.
rehearse:
    cargo run --release -- rehearse --report target/rehearsal.html

# 200 departures under chaos and at least a million requests: more than half an hour.
soak:
    cargo run --release -- rehearse --driver decamp --chaos --rounds 50 --rate 600 --report target/soak.html

# The README's picture of a report, by Debian's Chromium.
picture:
    cargo run --release -- rehearse --report target/rehearsal.html
    mkdir -p docs
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=960,2960 --screenshot=docs/rehearsal.png "file://$PWD/target/rehearsal.html"

# The figures of the README.
bench:
    cargo run --release -- simulate --departures 1000000 --seed {{seed}} --faults all
    cargo run --release -- simulate --departures 200000 --seed {{seed}} --faults none

# A short run of the hammer over every parser; the inputs can be made again from their numbers.
fuzz-shortly:
    cargo run --release --example hammer -- --inputs 200000

# A long run: ten million inputs for each parser.
fuzz:
    cargo run --release --example hammer -- --inputs 10000000

# Writes the stories of tests/stories again, after a rule has changed. Read the difference.
stories:
    cargo run --example stories
    git diff --stat -- tests/stories

# How to try it on real agents: Nomad and Consul on the path, then the tests that wait for them.
lab:
    @command -v nomad >/dev/null || echo "nomad is not on the path: tests/live/real_nomad.rs will say skipped"
    @command -v consul >/dev/null || echo "consul is not on the path: tests/live/real_consul.rs will say skipped"
    cargo test -p decamp --test live -- --nocapture
