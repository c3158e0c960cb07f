//! Fargate offers cpu and memory in pairs: a task's request is rounded up to the next pair. Disk space is not rounded.
//!
//! Source: AWS, "Amazon ECS task definition parameters for Fargate", task size.

use std::fmt;

use bakery_core::message::Message;

/// Cpu units of one vCPU.
const UNITS: u32 = 1024;

/// Cpu units, the least and the most MiB that they allow, and the step between.
const SIZES: [(u32, u32, u32, u32); 7] = [
    (256, 512, 2048, 1024),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

/// One of Fargate's pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Cpu units, 1024 of which are a vCPU.
    pub cpu: u32,
    /// MiB.
    pub memory: u32,
}

impl Size {
    /// The smallest pair with at least this much of both; `None` beyond the largest.
    pub fn fitting(cpu_millis: u32, memory_mib: u32) -> Option<Self> {
        // 1000 thousandths are 1024 units; a part of a unit counts as a whole one.
        let units = u64::from(cpu_millis) * u64::from(UNITS);
        SIZES.iter().filter(|(cpu, ..)| u64::from(*cpu) * 1000 >= units).find_map(
            |&(cpu, least, most, step)| {
                let memory = match memory_mib {
                    small if small <= least => least,
                    // 256 units go with 512, 1024 and 2048 MiB.
                    wanted => wanted.div_ceil(step).checked_mul(step)?,
                };
                (memory <= most).then_some(Self { cpu, memory })
            },
        )
    }

    /// The same, or why there is none, for people.
    pub(super) fn of(cpu_millis: u32, memory_mib: u32) -> Result<Self, Message> {
        Self::fitting(cpu_millis, memory_mib).ok_or_else(|| {
            Message::new(format!(
                "{cpu_millis}m cpu and {memory_mib} MiB are more than a Fargate task can have"
            ))
            .with_hint(format!(
                "at most {}, and docs/aws.md lists how much memory goes with how much cpu",
                Self::LARGEST
            ))
        })
    }

    /// The largest.
    pub const LARGEST: Self = Self { cpu: 16_384, memory: 122_880 };

    /// A notice where a task gets another size than it requested.
    pub fn notice(self, cpu_millis: u32, memory_mib: u32) -> Option<String> {
        let exact = u64::from(self.cpu) * 1000 == u64::from(cpu_millis) * u64::from(UNITS)
            && self.memory == memory_mib;
        (!exact).then(|| {
            format!(
                "{cpu_millis}m cpu and {memory_mib} MiB are rounded up to a size that Fargate offers: {self}"
            )
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, memory } = self;
        write!(f, "{} vCPU and {memory} MiB", f64::from(*cpu) / f64::from(UNITS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_round_up_to_the_next_pair() {
        let size = |cpu, memory| Size::fitting(cpu, memory).map(|it| (it.cpu, it.memory));
        for (asked, given) in [
            ((250, 512), (256, 512)),
            ((1, 32), (256, 512)),
            ((250, 513), (256, 1024)),
            ((250, 2048), (256, 2048)),
            ((250, 2049), (512, 3072)),
            ((500, 2048), (512, 2048)),
            ((501, 2048), (1024, 2048)),
            ((4000, 8193), (4096, 9216)),
            ((4001, 8192), (8192, 16_384)),
            ((8000, 16_385), (8192, 20_480)),
            ((16_000, 122_880), (16_384, 122_880)),
        ] {
            assert_eq!(size(asked.0, asked.1), Some(given), "{asked:?}");
        }
        assert_eq!(size(16_001, 1024), None);
        assert_eq!(size(250, 122_881), None);
    }

    #[test]
    fn another_size_than_requested_gives_a_notice() {
        let size = Size::fitting(600, 2048).unwrap();
        let notice = size.notice(600, 2048).unwrap();
        assert_eq!(
            notice,
            "600m cpu and 2048 MiB are rounded up to a size that Fargate offers: 1 vCPU and 2048 MiB"
        );
        assert_eq!(Size::fitting(500, 2048).unwrap().notice(500, 2048), None);
    }

    proptest! {
        #[test]
        fn a_size_is_enough_and_one_that_fargate_has(cpu in 1_u32..20_000, memory in 32_u32..140_000) {
            if let Some(size) = Size::fitting(cpu, memory) {
                prop_assert!(u64::from(size.cpu) * 1000 >= u64::from(cpu) * 1024 && size.memory >= memory);
                let (_, least, most, step) = *SIZES.iter().find(|(cpu, ..)| *cpu == size.cpu).unwrap();
                prop_assert!(size.memory >= least && size.memory <= most);
                prop_assert!(size.memory == least || size.memory % step == 0);
                prop_assert_eq!(Size::fitting(size.cpu * 1000 / 1024, size.memory), Some(size));
            } else {
                prop_assert!(cpu > 16_000 || memory > 122_880);
            }
        }
    }
}
