//! The table of faults in docs/adr/README.md has every fault that the simulator draws, by its number and its name.

use decamp_sim::faults::Fault;

use super::{file, none};

#[test]
fn the_table_of_faults_has_every_fault_that_the_simulator_draws() {
    let table = file("docs/adr/README.md");
    let row = |fault: &Fault| format!("| {} | {} |", fault.number(), fault.name());
    none(Fault::all().map(|fault| row(&fault)).filter(|row| !table.contains(row)).collect(), "faults without a row");
}
