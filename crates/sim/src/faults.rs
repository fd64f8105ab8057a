//! The faults that a departure can meet, with their numbers in the catalogue; 68 and later are those that it adds at its end.

macro_rules! faults {
    ($($name:ident = $number:literal, $word:literal, $doc:literal;)*) => {
        /// What can go wrong.
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
    FrozenWorker = 12, "frozen-worker", "A worker is frozen for minutes and goes on.";
    ClockSkew = 14, "clock-skew", "A worker's clock is wrong by up to ten minutes.";
    CredentialsExpire = 15, "credentials-expire", "AWS denies every call for a while.";
    ActionCompletedBySomebody = 16, "action-completed-by-somebody", "Somebody else completes the action in the middle.";
    HeartbeatThrottled = 17, "heartbeat-throttled", "Heartbeats are refused for a while.";
    HeartbeatTimesOut = 19, "heartbeat-times-out", "Auto Scaling is away for longer than the heartbeat time-out.";
    HookIsShort = 20, "hook-is-short", "The hook's times are as short as AWS allows.";
    CompletionAnswerLost = 21, "completion-answer-lost", "The completion works, and its answer is lost.";
    MachineDies = 22, "machine-dies", "The machine is terminated by somebody else.";
    HookDeleted = 23, "hook-deleted", "An operator deletes the hook.";
    InstanceDetached = 24, "instance-detached", "An operator detaches the instance.";
    AbandonRetains = 25, "abandon-retains", "The policy abandons, and the group retains.";
    SecondHook = 26, "second-hook", "The group has another terminating hook.";
    OthersLeave = 27, "others-leave", "Another node of the cluster leaves at the same time.";
    BalancersThrottled = 28, "balancers-throttled", "Elastic Load Balancing throttles everything for a minute.";
    DeregistrationAnswerLost = 29, "deregistration-answer-lost", "A deregistration works, and its answer is lost.";
    DrainingSticks = 30, "draining-sticks", "A target reads `draining` for longer than its delay.";
    TargetGroupDeleted = 31, "target-group-deleted", "A target group is deleted in the middle.";
    TargetGroupDenied = 32, "target-group-denied", "A target group may not be read, or not be written to, for a while.";
    TargetRegisteredAgain = 33, "target-registered-again", "Somebody registers the instance again.";
    SeveralPorts = 34, "several-ports", "The instance is registered with several ports, as an instance and as an address.";
    AlreadyDraining = 35, "already-draining", "Somebody deregistered the instance before.";
    DelayUnreadable = 36, "delay-unreadable", "A target group's attributes may not be read.";
    DelayRaised = 37, "delay-raised", "An operator raises the deregistration delay.";
    RequestsOutliveTheDelay = 38, "requests-outlive-the-delay", "The delay is shorter than the longest requests.";
    LastHealthyTarget = 39, "last-healthy-target", "No other target of the group is healthy.";
    LeaderLost = 41, "leader-lost", "Nomad has no leader for a while.";
    DrainAnswerLost = 42, "drain-answer-lost", "A drain is set, and its answer is lost.";
    StaleReads = 43, "stale-reads", "A lagging server answers.";
    IndexGoesBack = 44, "index-goes-back", "Nomad's index goes back.";
    DrainCancelled = 45, "drain-cancelled", "An operator cancels the drain.";
    DrainedByOperator = 46, "drained-by-operator", "An operator drains the node himself.";
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
    AgentDead = 63, "agent-dead", "Nomad's agent dies for good; its processes serve on.";
    ConsulAgentDead = 64, "consul-agent-dead", "The node's Consul agent dies.";
    BlindToken = 65, "blind-token", "Nomad's token sees less than everything.";
    IngressPolls = 66, "ingress-polls", "The ingress asks discovery only every 15 s.";
    NeedsForce = 67, "needs-force", "An operator's drain has no deadline.";
    RegionOutage = 68, "region-outage", "Every AWS call fails for five minutes.";
    OtherSettingsNextTime = 69, "other-settings-next-time", "The next worker has other settings.";
    LandsLate = 70, "lands-late", "An allocation lands on the node after its drain.";
    WarmPool = 71, "warm-pool", "The instance goes to a warm pool.";
    Held = 72, "held", "The group is held by its tag for a while.";
    UnknownAddress = 98, "unknown-address", "A target of ours in a named group is at an address that nothing tells.";
    StrangersAddress = 99, "strangers-address", "A target is another workload's, at an address that one of our allocations has had, or has behind a bridge.";
    OwnAddresses = 100, "own-addresses", "A service has addresses of its own and is a target by them, beside a system job on the same port.";
    FoundByScan = 101, "found-by-scan", "A target group that is neither attached nor named has to be found, by id or by address.";
    FingerprintMissing = 102, "fingerprint-missing", "The Nomad node does not tell which instance it is.";
    HooksNotNamed = 103, "hooks-not-named", "The group has another tool's terminating hook, and nobody has said which is decamp's.";
    ConsulWithoutAcls = 104, "consul-without-acls", "Consul has no ACLs, and nobody sends it a token.";
    SpotInterruption = 73, "spot-interruption", "EC2 takes the instance back in two minutes.";
    ByHand = 89, "by-hand", "A service is registered by hand on the node's agent, and the ingress routes to it.";
    ConsulNamespaces = 90, "consul-namespaces", "Some jobs register their services in a Consul namespace.";
    ConsulElsewhere = 91, "consul-elsewhere", "Consul is asked where it lists nothing of the node: another datacenter, or another namespace.";
    NotListed = 92, "not-listed", "A target group that the hook names does not list the instance at first, or never held it.";
    IngressUnderLoad = 111, "ingress-under-load", "The ingress is under load: what it heard of is in force up to 2.5 s after its throttle.";
    SweepsAlone = 74, "sweeps-alone", "No message ever comes: the sweep of each minute does everything.";
    MessageLate = 75, "message-late", "A message that a pass hands back stays hidden for minutes.";
    ActivitiesDenied = 76, "activities-denied", "Scaling activities may not be read: nobody tells when the instance entered its hook.";
    MetadataRefused = 77, "metadata-refused", "Nomad refuses to keep node metadata.";
    ClaimsHours = 85, "claims-hours", "A job claims up to ten hours for its stop, which its process does not need.";
    HeldForHours = 86, "held-for-hours", "The group is held by its tag for longer than a departure may take, or to the end.";
    AgentBackLate = 87, "agent-back-late", "Nomad's agent comes back when it has almost been given up.";
    DeniedForGood = 88, "denied-for-good", "A target group may not be read, or not be written to, ever; or Nomad, or Consul, denies everything from some time on.";
    KeptConnections = 94, "kept-connections", "Clients keep connections through a Network Load Balancer, and send on them after the deregistration.";
    ClassicBalancer = 95, "classic-balancer", "A load balancer is a Classic one: it has instances, and its connection draining may be off.";
    LatticeSource = 96, "lattice-source", "A VPC Lattice target group is attached: decamp cannot leave it, and it sends for minutes.";
    RootVolume = 120, "root-volume", "The instance waits in its hook for another root volume, and comes back.";
    SlowAnswers = 125, "slow-answers", "Each answer of one system takes seconds, and comes.";
    ConsulVanishes = 126, "consul-vanishes", "Consul goes away after the first drain began, for decamp and for the ingress.";
    NomadHangs = 127, "nomad-hangs", "Nomad takes calls and answers none, from the beginning and for a while.";
    LastOfItsZone = 121, "last-of-its-zone", "Load balancing does not cross zones, and no other healthy target is in the instance's.";
}

impl Fault {
    /// The fault of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// Every fault there is.
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

    /// What happens, in a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        ALL[self.place()].3
    }

    /// Its place among all faults.
    #[must_use]
    pub fn place(self) -> usize {
        self as usize
    }

    /// How many there are.
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
    /// None at all.
    pub const NONE: Self = Self(0);

    /// Every fault.
    #[must_use]
    pub fn every() -> Self {
        Fault::all().fold(Self::NONE, Self::with)
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault.place())
    }

    /// These without one of them.
    #[must_use]
    pub fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault.place()))
    }

    /// Whether it is among them.
    #[must_use]
    pub fn has(self, fault: Fault) -> bool {
        self.0 >> fault.place() & 1 == 1
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::all().filter(move |fault| self.has(*fault))
    }

    /// How many.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
