//! The faults that a departure can meet, with their numbers in the catalogue of faults.

macro_rules! faults {
    ($($name:ident = $number:literal, $word:literal, $doc:literal;)*) => {
        /// A fault that a departure can meet.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Fault {
            $(#[doc = $doc] $name,)*
        }

        const ALL: &[(Fault, u8, &str, &str)] = &[$((Fault::$name, $number, $word, $doc),)*];
    };
}

faults! {
    DuplicateEvent = 1, "duplicate-event", "The event comes again after the departure is over.";
    TwoWorkers = 2, "two-workers", "The event comes to a second worker while the first works.";
    LateEvent = 3, "late-event", "The event comes after the hook has run out.";
    StaleToken = 4, "stale-token", "An event with the token of an earlier action comes first.";
    LostEvent = 10, "lost-event", "The event never comes; only a sweep finds the instance.";
    Crash = 11, "crash", "A worker is killed, right before or right after one of its effects, or anywhere.";
    FrozenWorker = 12, "frozen-worker", "A worker is frozen for minutes and then continues.";
    ClockSkew = 14, "clock-skew", "A worker's clock is wrong by up to ten minutes.";
    CredentialsExpire = 15, "credentials-expire", "AWS denies every call for a while.";
    ActionCompletedBySomebody = 16, "action-completed-by-somebody", "Another party completes the action during the departure.";
    HeartbeatThrottled = 17, "heartbeat-throttled", "Heartbeats are refused for a while.";
    HeartbeatTimesOut = 19, "heartbeat-times-out", "Auto Scaling is away for longer than the heartbeat time-out.";
    HookIsShort = 20, "hook-is-short", "The hook's times are as short as AWS allows.";
    CompletionAnswerLost = 21, "completion-answer-lost", "The completion takes effect, and its answer is lost.";
    MachineDies = 22, "machine-dies", "Another party terminates the machine.";
    HookDeleted = 23, "hook-deleted", "An operator deletes the hook.";
    InstanceDetached = 24, "instance-detached", "An operator detaches the instance.";
    AbandonRetains = 25, "abandon-retains", "The policy abandons, and the group retains.";
    SecondHook = 26, "second-hook", "The group has another terminating hook.";
    OthersLeave = 27, "others-leave", "Another node of the cluster leaves at the same time.";
    BalancersThrottled = 28, "balancers-throttled", "Elastic Load Balancing throttles everything for a minute.";
    DeregistrationAnswerLost = 29, "deregistration-answer-lost", "A deregistration takes effect, and its answer is lost.";
    DrainingSticks = 30, "draining-sticks", "A target reads `draining` for longer than its delay.";
    TargetGroupDeleted = 31, "target-group-deleted", "A target group is deleted during the departure.";
    TargetGroupDenied = 32, "target-group-denied", "A target group may not be read, or not be written to, for a while.";
    TargetRegisteredAgain = 33, "target-registered-again", "Another party registers the instance again.";
    SeveralPorts = 34, "several-ports", "The instance is registered with several ports, as an instance and as an address.";
    AlreadyDraining = 35, "already-draining", "Another party deregistered the instance before.";
    DelayUnreadable = 36, "delay-unreadable", "A target group's attributes may not be read.";
    DelayRaised = 37, "delay-raised", "An operator raises the deregistration delay.";
    RequestsOutliveTheDelay = 38, "requests-outlive-the-delay", "The delay is shorter than the longest requests.";
    LastHealthyTarget = 39, "last-healthy-target", "No other target of the group is healthy.";
    LeaderLost = 41, "leader-lost", "Nomad has no leader for a while.";
    DrainAnswerLost = 42, "drain-answer-lost", "A drain is set, and its answer is lost.";
    StaleReads = 43, "stale-reads", "A lagging server answers.";
    IndexGoesBack = 44, "index-goes-back", "Nomad's index goes back.";
    DrainCancelled = 45, "drain-cancelled", "An operator cancels the drain.";
    DrainedByOperator = 46, "drained-by-operator", "An operator drains the node.";
    NodeCollected = 47, "node-collected", "The node's row is purged.";
    TwoNodes = 48, "two-nodes", "Two nodes carry the instance's id, one of them down.";
    NoNode = 49, "no-node", "No Nomad node is the instance.";
    AgentAway = 50, "agent-away", "Nomad's agent is away for a while and comes back.";
    StuckStop = 51, "stuck-stop", "A process ignores its signal, and SIGKILL takes long.";
    NoRoomElsewhere = 52, "no-room-elsewhere", "A job's allocations fit nowhere else.";
    SystemAndCsi = 53, "system-and-csi", "System jobs and CSI plugins run beside the ingress.";
    LongBatch = 54, "long-batch", "A batch allocation runs for hours.";
    NomadDenied = 55, "nomad-denied", "Nomad denies everything for a while.";
    NomadThrottled = 56, "nomad-throttled", "Nomad has too many connections for a while.";
    ConsulAway = 57, "consul-away", "Consul is away for a while, for decamp and for the ingress.";
    StaleCatalog = 58, "stale-catalog", "Consul's catalog is old for a while.";
    LeftoverRegistration = 59, "leftover-registration", "A registration is never removed.";
    NonsenseAnswers = 60, "nonsense-answers", "Answers are garbage, for every system, now and then.";
    JobPurged = 61, "job-purged", "A job is purged while its allocations stop.";
    DrainHangs = 62, "drain-hangs", "A sysbatch allocation, or one already stopping, hangs the drain.";
    AgentDead = 63, "agent-dead", "Nomad's agent dies for good, and its processes keep serving.";
    ConsulAgentDead = 64, "consul-agent-dead", "The node's Consul agent dies.";
    BlindToken = 65, "blind-token", "decamp's Nomad token may not read everything.";
    IngressPolls = 66, "ingress-polls", "The ingress polls discovery every 15 s.";
    NeedsForce = 67, "needs-force", "An operator's drain has no deadline.";
    RegionOutage = 68, "region-outage", "Every AWS call fails for five minutes.";
    OtherSettingsNextTime = 69, "other-settings-next-time", "The next worker has other settings.";
    LandsLate = 70, "lands-late", "An allocation starts on the node after its drain.";
    WarmPool = 71, "warm-pool", "The instance goes to a warm pool.";
    Held = 72, "held", "The group is held by its tag for a while.";
    UnknownAddress = 98, "unknown-address", "A target of the instance in a named group is at an address that no system reports.";
    StrangersAddress = 99, "strangers-address", "Another workload is a target at an address that an allocation here had, or has behind a bridge.";
    OwnAddresses = 100, "own-addresses", "A service has its own addresses and is a target by them, beside a system job on the same port.";
    FoundByScan = 101, "found-by-scan", "A target group that is neither attached nor named has to be found, by id or by address.";
    FingerprintMissing = 102, "fingerprint-missing", "The Nomad node does not report its instance id.";
    HooksNotNamed = 103, "hooks-not-named", "The group has another tool's terminating hook, and no setting says which is decamp's.";
    ConsulWithoutAcls = 104, "consul-without-acls", "Consul has no ACLs, and decamp sends no token.";
    SpotInterruption = 73, "spot-interruption", "EC2 takes the instance back in two minutes.";
    ByHand = 89, "by-hand", "A service is registered by hand on the node's agent, and the ingress routes to it.";
    ConsulNamespaces = 90, "consul-namespaces", "Some jobs register their services in a Consul namespace.";
    ConsulElsewhere = 91, "consul-elsewhere", "decamp asks a Consul in another datacenter or namespace, which lists nothing of the node.";
    NotListed = 92, "not-listed", "A target group that the hook names does not list the instance at first, or never had it.";
    IngressUnderLoad = 111, "ingress-under-load", "The ingress is under load: it applies changes up to 2.5 s after its throttle.";
    SweepsAlone = 74, "sweeps-alone", "No message ever comes: the sweep of each minute does everything.";
    MessageLate = 75, "message-late", "A message that a pass hands back stays hidden for minutes.";
    ActivitiesDenied = 76, "activities-denied", "Scaling activities may not be read, so that the entry into the hook is unknown.";
    MetadataRefused = 77, "metadata-refused", "Nomad refuses writes of node metadata.";
    ClaimsHours = 85, "claims-hours", "A job claims up to ten hours for its stop, and its process needs less.";
    HeldForHours = 86, "held-for-hours", "The group is held by its tag for longer than a departure may take, or to the end.";
    AgentBackLate = 87, "agent-back-late", "Nomad's agent comes back when decamp has almost given it up.";
    DeniedForGood = 88, "denied-for-good", "A target group may never be read or written to, Nomad or Consul denies everything from some time on, or one kind of write or the look at the instance's lifecycle is denied.";
    KeptConnections = 94, "kept-connections", "Clients of a Network Load Balancer send on kept connections after the deregistration.";
    ClassicBalancer = 95, "classic-balancer", "A load balancer is a Classic one. It lists instances, and may have no connection draining.";
    LatticeSource = 96, "lattice-source", "A VPC Lattice target group is attached, which decamp cannot leave and which sends for minutes.";
    RootVolume = 120, "root-volume", "The instance waits in its hook for another root volume, and comes back.";
    SlowAnswers = 125, "slow-answers", "Each answer of one system takes seconds.";
    ConsulVanishes = 126, "consul-vanishes", "Consul goes away after the first drain has begun, for decamp and for the ingress.";
    NomadHangs = 127, "nomad-hangs", "From the beginning and for a while Nomad accepts calls and answers none.";
    CsiVolumes = 128, "csi-volumes", "Services use CSI volumes, whose claims Nomad releases seconds or minutes after an allocation has ended, or never, or which are deleted.";
    VolumesDenied = 129, "volumes-denied", "Services use CSI volumes, and decamp's Nomad token may not read them.";
    HostVolumes = 130, "host-volumes", "Services have data in host volumes. Half of the departures are held, and an operator lets some of them go.";
    LastOfItsZone = 121, "last-of-its-zone", "Load balancing does not cross zones, and no other healthy target is in the instance's zone.";
}

impl Fault {
    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// All faults.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|row| row.0)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL[self.place()].2
    }

    /// Its number in the catalogue.
    #[must_use]
    pub fn number(self) -> u8 {
        ALL[self.place()].1
    }

    /// A sentence that describes it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        ALL[self.place()].3
    }

    /// Its index among all faults.
    #[must_use]
    pub fn place(self) -> usize {
        self as usize
    }

    /// How many faults there are.
    #[must_use]
    pub fn count() -> usize {
        ALL.len()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(u128);

impl Faults {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set of all faults.
    #[must_use]
    pub fn every() -> Self {
        Fault::all().fold(Self::NONE, Self::with)
    }

    /// This set with one more fault.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault.place())
    }

    /// This set without a fault.
    #[must_use]
    pub fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault.place()))
    }

    /// Whether the fault is in the set.
    #[must_use]
    pub fn has(self, fault: Fault) -> bool {
        self.0 >> fault.place() & 1 == 1
    }

    /// The faults in the set.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::all().filter(move |fault| self.has(*fault))
    }

    /// How many faults are in the set.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
