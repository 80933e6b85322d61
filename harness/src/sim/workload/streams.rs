//! Commands on streams and their groups of consumers.

use perdura_sim::SimRng;

use super::{Command, Workload, number, pick};

impl Workload {
    pub(super) fn stream(&mut self, rng: &mut SimRng) -> Command {
        let (key, value) = (self.key('x', rng), self.value(rng));
        let (key, value) = (key.as_str(), value.as_str());
        let (group, consumer) = (pick(&["g0", "g1"], rng), pick(&["c0", "c1"], rng));
        // One stream takes its ids from the clock; those of the others grow with each value, so that they can be named again.
        let fresh = if key == "x2" { "*".to_string() } else { format!("{}-1", self.serial) };
        let id = format!("{}-1", self.serial.saturating_sub(rng.below(12)));
        match rng.below(30) {
            0..7 => Command::new(&["XADD", key, &fresh, "f", value]),
            7 => Command::new(&["XADD", key, &id, "f", value]),
            8 => Command::new(&["XADD", key, "MAXLEN", "5", &fresh, "f", value, "g", "1"]),
            9 => Command::new(&["XADD", key, "NOMKSTREAM", &fresh, "f", value]),
            10 => Command::new(&["XTRIM", key, "MAXLEN", &number(0, 6, rng)]),
            11 => Command::new(&["XDEL", key, &id]),
            12..14 => {
                Command::at(&["XGROUP", "CREATE", key, group, pick(&["0", "$"], rng), "MKSTREAM"], &[2])
            }
            14 => Command::at(&["XGROUP", "SETID", key, group, pick(&["0", "$"], rng)], &[2]),
            15 => Command::at(&["XGROUP", "CREATECONSUMER", key, group, consumer], &[2]),
            16 => Command::at(&["XGROUP", "DELCONSUMER", key, group, consumer], &[2]),
            17 if rng.chance(300) => Command::at(&["XGROUP", "DESTROY", key, group], &[2]),
            17..21 => {
                let count = number(1, 3, rng);
                Command::at(
                    &["XREADGROUP", "GROUP", group, consumer, "COUNT", &count, "STREAMS", key, ">"],
                    &[7],
                )
            }
            21 => Command::at(&["XREADGROUP", "GROUP", group, consumer, "NOACK", "STREAMS", key, ">"], &[6]),
            22 => Command::at(&["XREADGROUP", "GROUP", group, consumer, "STREAMS", key, "0"], &[5]),
            23 => Command::new(&["XACK", key, group, &id]),
            24 => Command::new(&["XCLAIM", key, group, consumer, "0", &id, "JUSTID"]),
            25..27 => Command::new(&["XAUTOCLAIM", key, group, consumer, "0", "0", "JUSTID"]),
            27 => Command::new(&["XPENDING", key, group]),
            28 => Command::new(&["XLEN", key]),
            _ => Command::new(&["XRANGE", key, "-", "+"]),
        }
    }
}
