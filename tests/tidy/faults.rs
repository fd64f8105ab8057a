//! The table of faults in docs/adr/README.md lists every fault of the simulator with its number and name.

use decamp_sim::faults::Fault;

use super::{file, none};

#[test]
fn the_table_of_faults_lists_every_fault_of_the_simulator() {
    let table = file("docs/adr/README.md");
    let row = |fault: &Fault| format!("| {} | {} |", fault.number(), fault.name());
    none(Fault::all().map(|fault| row(&fault)).filter(|row| !table.contains(row)).collect(), "faults without a row");
}
