//! Everything that can go wrong, and how often it does at most. A world draws its own rates below
//! these, and leaves some faults out, because rare combinations hide behind frequent ones.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident at most $most:literal: $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $name),* }

        impl Fault {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As a trace and a summary name it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The highest probability of it, each time it could happen.
            pub(crate) const fn most(self) -> f64 {
                match self { $(Self::$name => $most),* }
            }
        }
    };
}

faults! {
    CrashAfterReceive at most 0.04: "crash after receive",
    CrashAfterLoad at most 0.04: "crash between load and commit",
    CrashAfterCommit at most 0.06: "crash between commit and publish",
    CrashAfterPublish at most 0.06: "crash between publish and confirm",
    CrashAfterConfirm at most 0.06: "crash between confirm and acknowledgement",
    CrashWithinAcknowledgements at most 0.06: "crash between two acknowledgements",
    CrashAfterCopy at most 0.2: "crash between copy to retry or dead letter and acknowledgement",

    /// The broker took some of the events, and then the connection was lost.
    PublishedInPart at most 0.2: "events published in part",
    ConfirmLost at most 0.2: "confirm lost",
    AcknowledgementLost at most 0.15: "acknowledgement lost",
    /// Its deliveries go to others while it works on them.
    ConnectionLost at most 0.15: "connection lost with deliveries in hand",
    BrokerAway at most 0.1: "broker away",

    Duplicated at most 0.3: "message duplicated",
    Delayed at most 0.3: "message delayed for seconds",
    /// Past the deadline of its saga, often.
    Late at most 0.05: "message delayed for minutes",
    /// Long acknowledged, and there again.
    Redelivered at most 0.9: "old message redelivered",
    Garbled at most 0.1: "undecodable message",
    CalledTwice at most 0.2: "command published twice",

    ReadRefused at most 0.15: "database refused a read",
    CommitRefused at most 0.15: "database refused a commit",
    CommitAmbiguous at most 0.15: "commit took effect and was reported as failed",
    CommittedInPart at most 1.0: "steps committed before the undos of their batch",
    DatabaseHung at most 0.02: "database fell silent before a commit",
    CommitHung at most 0.02: "database fell silent after a commit",
    DatabaseAway at most 0.1: "database away",

    /// Handling a message fails, a few times.
    Flaky at most 0.1: "handling failed",
    /// Handling a message fails until an operator mends it.
    Poison at most 0.02: "poison message",
    /// The operator gives the saga up before its command is delivered.
    Overtaken at most 0.1: "undo before its step",
}
