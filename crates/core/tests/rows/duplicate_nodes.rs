//! Several nodes that report the same instance id: one that is down is set aside only beside one that is ready. (ADR 0005.)

use decamp_core::decide::NodeStatus::{self, Disconnected, Down, Other, Ready};
use decamp_core::decide::{Twin, set_aside};
use decamp_core::ids::NodeId;

fn split(twins: &[(NodeStatus, bool)]) -> (Vec<u128>, Vec<u128>) {
    let twin =
        |(place, (status, ours)): (u128, &(NodeStatus, bool))| Twin { id: NodeId(place), status: *status, taken_out: *ours };
    let twins: Vec<Twin> = (0..).zip(twins).map(twin).collect();
    let numbers = |ids: Vec<NodeId>| ids.into_iter().map(|id| id.0).collect();
    let (found, aside) = set_aside(&twins);
    (numbers(found), numbers(aside))
}

#[test]
fn a_node_that_is_down_is_set_aside_only_if_another_is_ready() {
    let cases: &[(&[NodeStatus], &[u128], &[u128])] = &[
        (&[], &[], &[]),
        (&[Down], &[0], &[]),
        (&[Down, Ready], &[1], &[0]),
        (&[Ready, Ready], &[0, 1], &[]),
        (&[Down, Down], &[0, 1], &[]),
        (&[Down, Disconnected], &[0, 1], &[]),
        (&[Disconnected, Ready], &[0, 1], &[]),
        (&[Other, Down], &[0, 1], &[]),
    ];
    for (statuses, found, aside) in cases {
        let twins: Vec<_> = statuses.iter().map(|status| (*status, false)).collect();
        assert_eq!(split(&twins), (found.to_vec(), aside.to_vec()), "{statuses:?}");
    }
}

#[test]
fn a_node_that_is_down_and_that_decamp_works_on_is_never_set_aside() {
    assert_eq!(split(&[(Down, true), (Ready, false)]), (vec![0, 1], vec![]));
    assert_eq!(split(&[(Down, false), (Ready, true)]), (vec![1], vec![0]));
}
