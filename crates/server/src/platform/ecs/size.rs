//! Fargate offers cpu and memory in pairs, and disk in GiB: a task's request is rounded up to the next pair, and to the next
//! GiB.
//!
//! Source: AWS, "Amazon ECS task definition parameters for Fargate", task size and ephemeral storage.

use std::fmt;

use bakery_core::message::Message;
use bakery_core::units::format_mib;

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

/// GiB of disk of a task whose definition sets none; no definition can set so few.
pub(super) const LEAST_DISK: u8 = 20;
/// GiB of disk that a definition can set.
const MOST_DISK: u8 = 200;

/// One of Fargate's pairs, and a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Cpu units, 1024 of which are a vCPU.
    pub cpu: u32,
    /// MiB.
    pub memory: u32,
    /// GiB; `None` = the server's default (`ECS_EPHEMERAL_STORAGE`).
    pub disk: Option<u8>,
}

impl Size {
    /// The smallest pair with at least this much of both, without a disk; `None` beyond the largest.
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
                (memory <= most).then_some(Self { cpu, memory, disk: None })
            },
        )
    }

    /// The same with the disk that a task requests, or why there is none, for people.
    pub(super) fn of(cpu_millis: u32, memory_mib: u32, disk_mib: Option<u32>) -> Result<Self, Message> {
        let pair = Self::fitting(cpu_millis, memory_mib).ok_or_else(|| {
            Message::new(format!(
                "{cpu_millis}m cpu and {memory_mib} MiB are more than a Fargate task can have"
            ))
            .with_hint(format!(
                "at most {}, and docs/aws.md lists how much memory goes with how much cpu",
                Self::LARGEST
            ))
        })?;
        Ok(Self { disk: disk_mib.map(disk).transpose()?, ..pair })
    }

    /// The largest.
    pub const LARGEST: Self = Self { cpu: 16_384, memory: 122_880, disk: None };

    /// Notices where a task gets another size than it requested.
    pub(super) fn notices(self, cpu_millis: u32, memory_mib: u32, disk_mib: Option<u32>) -> Vec<String> {
        let exact = u64::from(self.cpu) * 1000 == u64::from(cpu_millis) * u64::from(UNITS)
            && self.memory == memory_mib;
        let pair = (!exact).then(|| {
            format!(
                "{cpu_millis}m cpu and {memory_mib} MiB are rounded up to a size that Fargate offers: {self}"
            )
        });
        let disk = self.disk.zip(disk_mib).filter(|(gib, mib)| u32::from(*gib) << 10 != *mib);
        let disk = disk.map(|(gib, mib)| {
            format!("{} of disk are rounded up to what Fargate offers: {gib} GiB", format_mib(mib))
        });
        pair.into_iter().chain(disk).collect()
    }
}

/// The smallest disk with at least this many MiB.
fn disk(mib: u32) -> Result<u8, Message> {
    let gib = u8::try_from(mib.div_ceil(1 << 10)).ok().filter(|gib| *gib <= MOST_DISK);
    gib.map(|gib| gib.max(LEAST_DISK)).ok_or_else(|| {
        Message::new(format!("{} of disk are more than a Fargate task can have", format_mib(mib)))
            .with_hint(format!("at most {MOST_DISK} GiB"))
    })
}

/// Its cpu and its memory.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, memory, .. } = self;
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
        assert_eq!(
            size.notices(600, 2048, None),
            ["600m cpu and 2048 MiB are rounded up to a size that Fargate offers: 1 vCPU and 2048 MiB"]
        );
        assert!(Size::fitting(500, 2048).unwrap().notices(500, 2048, None).is_empty());
    }

    #[test]
    fn a_disk_is_rounded_up_to_whole_gib_from_20_to_200() {
        let given = |mib| {
            let size = Size::of(500, 2048, Some(mib)).map_err(|message| message.rendered())?;
            Ok::<_, String>((size.disk.unwrap(), size.notices(500, 2048, Some(mib)).join("\n")))
        };
        for gib in [20, 21, 200] {
            assert_eq!(given(u32::from(gib) << 10), Ok((gib, String::new())));
        }
        let notice = |asked: &str, gib: u8| {
            Ok((gib, format!("{asked} of disk are rounded up to what Fargate offers: {gib} GiB")))
        };
        assert_eq!(given(1024), notice("1 GiB", 20));
        assert_eq!(given((20 << 10) + 1), notice("20481 MiB", 21));
        assert_eq!(given((199 << 10) + 1), notice("203777 MiB", 200));
        for (mib, shown) in
            [((200 << 10) + 1, "204801 MiB"), (1 << 20, "1024 GiB"), (u32::MAX, "4294967295 MiB")]
        {
            let text =
                format!("{shown} of disk are more than a Fargate task can have\nhint: at most 200 GiB");
            assert_eq!(given(mib), Err(text));
        }
        assert_eq!(Size::of(500, 2048, None).unwrap().disk, None);
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
