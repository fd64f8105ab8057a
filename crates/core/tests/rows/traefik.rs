//! How long Traefik routes to a service that has left discovery, by its settings.

use decamp_core::decide::{Follows, Traefik};

use crate::facts::secs;

fn polls(refresh: Option<u64>) -> Option<Follows> {
    Some(Follows { watch: false, refresh: refresh.map(secs) })
}

fn watches() -> Option<Follows> {
    Some(Follows { watch: true, refresh: None })
}

#[test]
fn it_forgets_after_its_poll_and_its_throttle_or_after_the_throttle_alone_if_it_watches() {
    let set = |consul, nomad, throttle: Option<u64>| Traefik { consul, nomad, throttle: throttle.map(secs) };
    let cases = [
        (set(None, None, None), None),
        (set(None, None, Some(9)), None),
        (set(watches(), None, None), Some((2, "Traefik watches Consul"))),
        (set(polls(None), None, None), Some((17, "Traefik polls Consul every 15s"))),
        (set(polls(Some(30)), None, None), Some((32, "Traefik polls Consul every 30s"))),
        (set(None, polls(Some(5)), Some(0)), Some((5, "Traefik polls Nomad every 5s"))),
        // The slower of the two counts.
        (set(polls(Some(5)), watches(), Some(3)), Some((8, "Traefik polls Consul every 5s"))),
        (set(watches(), polls(None), None), Some((17, "Traefik polls Nomad every 15s"))),
        // With a watch, the poll interval does not matter.
        (set(Some(Follows { watch: true, refresh: Some(secs(60)) }), None, None), Some((2, "Traefik watches Consul"))),
    ];
    for (traefik, forgets) in cases {
        let said = traefik.ingress().map(|ingress| (ingress.forgets_after, ingress.how.to_string()));
        assert_eq!(said, forgets.map(|(after, how)| (secs(after), how.to_owned())), "{traefik:?}");
    }
}
