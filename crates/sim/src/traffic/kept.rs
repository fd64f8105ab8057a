//! Connections that clients keep through a Network Load Balancer: to one target, whatever becomes of its registration. New requests come
//! over them until the target closes them, the load balancer cuts them, or the machine goes (facts/aws.md 3.2).

use super::{AllocationNumber, Failed, Held, Rng, Time, Traffic};

impl Traffic {
    /// From now on clients of this front keep connections, the first of them to this backend of ours.
    pub fn keep_connections(&mut self, front: usize, backend: usize) {
        self.fronts[front].keeps = true;
        self.fronts[front].keep(backend);
    }

    /// Half of the requests of such clients come over the connection to the target that is ours, while it is open.
    pub(super) fn send_over_a_kept_one(&mut self, at: Time) -> bool {
        if !self.fronts.iter().any(|front| front.kept.is_some()) {
            return false;
        }
        let bits = self.rng.bits();
        let number = usize::try_from(Rng::share(bits, self.fronts.len() as u64)).unwrap_or(0);
        let Some(backend) = self.fronts[number].kept.filter(|_| bits >> 63 == 0) else { return false };
        let until = at + self.takes(bits >> 28);
        self.sent += 1;
        self.through(at, until, backend, number, true);
        true
    }

    /// Every connection that is kept holds a request.
    pub(super) fn fill_kept_ones(&mut self, at: Time) {
        for number in 0..self.fronts.len() {
            if let Some(backend) = self.fronts[number].kept {
                let until = at + self.takes_some();
                self.sent += 1;
                self.through(at, until, backend, number, true);
            }
        }
    }

    /// A server that is told to stop closes the connections that it holds, each after the request that is under way on it; its client
    /// opens another through the load balancer. One that ended has none.
    pub(super) fn closes_kept_ones(&mut self, number: AllocationNumber) {
        let backends = &self.backends;
        for front in &mut self.fronts {
            if front.kept.is_some_and(|backend| backends[backend].behind == Some(number)) {
                front.closes();
            }
        }
    }

    /// The machine is gone. What was not Nomad's served on until now, and drops what it holds.
    pub fn machine_gone(&mut self, at: Time) {
        let cut = |held: &Held| held.kept && held.backend.is_none() && at < held.until;
        let fronts: Vec<usize> = self.held.iter().filter(|held| cut(held)).map(|held| held.front).collect();
        self.held.retain(|held| !cut(held));
        self.fronts.iter_mut().for_each(super::Front::closes);
        for front in fronts {
            self.fail(at, Failed::CutByMachine, None, None, front);
        }
    }
}
