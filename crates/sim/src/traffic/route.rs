//! The route of one request: from a load balancer to a target, through a backend, and to a copy of a service.

use super::front::RouteTarget;
use super::{AllocationNumber, FailureCause, HeldRequest, Rng, Time, Traffic};

impl Traffic {
    pub(super) fn send(&mut self, at: Time) {
        if self.send_over_kept_connection(at) {
            return;
        }
        let bits = self.rng.bits();
        // If no ingress is on the node, an ingress elsewhere sends to its services.
        let elsewhere = !self.has_ingress && (self.fronts.is_empty() || bits >> 63 == 0);
        if elsewhere && self.ingress.serves_something() {
            self.sent += 1;
            return self.go_to_service(at, at + self.duration(bits >> 28), None, 0, false);
        }
        if self.fronts.is_empty() {
            return;
        }
        self.sent += 1;
        let number = usize::try_from(Rng::share(bits, self.fronts.len() as u64)).unwrap_or(0);
        let until = at + self.duration(bits >> 28);
        let front = &mut self.fronts[number];
        let Some(target) = front.next() else {
            return self.fail(at, FailureCause::NoTarget, None, None, number);
        };
        match target {
            RouteTarget::Elsewhere if front.has_ingress => self.go_to_service(at, until, None, number, false),
            RouteTarget::Elsewhere => {}
            RouteTarget::Nowhere => self.fail(at, FailureCause::DoorClosed, None, None, number),
            RouteTarget::At(backend) => {
                self.fronts[number].keep(backend);
                self.send_through(at, until, backend, number, false);
            }
        }
    }

    pub(super) fn send_through(&mut self, at: Time, until: Time, backend: usize, front: usize, kept: bool) {
        let (behind, is_ingress) = (self.backends[backend].behind, self.backends[backend].is_ingress);
        let Some(number) = behind else {
            // The process there is not Nomad's, and runs until the machine stops.
            return self.held.push(HeldRequest { since: at, until, backend: None, copy: None, service: None, front, kept });
        };
        if !self.process(number).listens {
            return self.fail(at, FailureCause::DoorClosed, Some(number), None, front);
        }
        if is_ingress {
            self.go_to_service(at, until, Some(number), front, kept);
        } else {
            self.held.push(HeldRequest { since: at, until, backend: Some(number), copy: None, service: None, front, kept });
        }
    }

    fn go_to_service(&mut self, at: Time, until: Time, backend: Option<AllocationNumber>, front: usize, kept: bool) {
        let Some((service, copy)) = self.ingress.choose(&mut self.rng) else {
            // Without services the ingress itself answers.
            return self.hold(HeldRequest { since: at, until, backend, copy: None, service: None, front, kept });
        };
        let Some(copy) = copy else {
            return self.fail(at, FailureCause::NoCopy, None, Some(service), front);
        };
        let process = self.process(copy);
        if !process.listens {
            return self.fail(at, FailureCause::CopyClosed, Some(copy), Some(service), front);
        }
        let copy = process.on_ours.then_some(copy);
        self.hold(HeldRequest { since: at, until, backend, copy, service: Some(service), front, kept });
    }

    pub(super) fn hold(&mut self, held: HeldRequest) {
        if held.backend.is_some() || held.copy.is_some() {
            self.held.push(held);
        }
    }
}
