//! Connections that clients keep through a Network Load Balancer. Each leads to one target, even after its deregistration. New requests
//! come over it until the target closes it, the load balancer cuts it, or the machine stops (facts/aws.md 3.2).

use super::{AllocationNumber, FailureCause, HeldRequest, Rng, Time, Traffic};

impl Traffic {
    /// From now on clients of this target group keep connections, the first of them to this backend.
    pub fn keep_connections(&mut self, front: usize, backend: usize) {
        self.fronts[front].keeps = true;
        self.fronts[front].keep(backend);
    }

    /// Sends a request over a kept connection to the leaving instance. While one is open, half of the requests of such clients do so.
    pub(super) fn send_over_kept_connection(&mut self, at: Time) -> bool {
        if !self.fronts.iter().any(|front| front.kept.is_some()) {
            return false;
        }
        let bits = self.rng.bits();
        let number = usize::try_from(Rng::share(bits, self.fronts.len() as u64)).unwrap_or(0);
        let Some(backend) = self.fronts[number].kept.filter(|_| bits >> 63 == 0) else { return false };
        let until = at + self.duration(bits >> 28);
        self.sent += 1;
        self.send_through(at, until, backend, number, true);
        true
    }

    /// Sends a request over every kept connection.
    pub(super) fn fill_kept_connections(&mut self, at: Time) {
        for number in 0..self.fronts.len() {
            if let Some(backend) = self.fronts[number].kept {
                let until = at + self.draw_duration();
                self.sent += 1;
                self.send_through(at, until, backend, number, true);
            }
        }
    }

    /// A server that stops closes its connections, each after the request in progress on it. The client opens another through the load
    /// balancer. A server that ended has no connections.
    pub(super) fn close_kept_connections(&mut self, number: AllocationNumber) {
        let backends = &self.backends;
        for front in &mut self.fronts {
            if front.kept.is_some_and(|backend| backends[backend].behind == Some(number)) {
                front.closes();
            }
        }
    }

    /// The machine stops. A process that is not Nomad's has served until now, and its requests fail.
    pub fn machine_gone(&mut self, at: Time) {
        let cut = |held: &HeldRequest| held.kept && held.backend.is_none() && at < held.until;
        let fronts: Vec<usize> = self.held.iter().filter(|held| cut(held)).map(|held| held.front).collect();
        self.held.retain(|held| !cut(held));
        self.fronts.iter_mut().for_each(super::Front::closes);
        for front in fronts {
            self.fail(at, FailureCause::CutByMachine, None, None, front);
        }
    }
}
