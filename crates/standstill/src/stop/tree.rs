//! The shape of the tree in which CPUs meet: who shares a node with whom, and where it is stored.
//!
//! # Vocabulary
//! CPUs are grouped by number, as many as the port's [`fan_in`](crate::platform::Cpus::fan_in) says; groups are grouped in the same way, until one group is
//! left, the **root**. Each group has one **node**: a word for the acknowledgements of its members on their way up (`acks.rs`), and a copy of the stage word
//! on its way down (`relay.rs`). A machine that is no larger than `fan_in` has one group: no step more than with one word for all.
//!
//! ```text
//!   fan_in 2, 8 CPUs      level 2                 3
//!                         level 1         1               5
//!                         level 0     0       2       4       6
//!                                    0 1     2 3     4 5     6 7
//! ```
//! The picture gives for each node the CPU in whose block it is stored. As in a heap that is numbered from left to right, no CPU stores two. With a
//! `fan_in` of f, a node of level l covers f^(l+1) CPUs and is stored by the last CPU of its first child: f^l - 1 behind its first CPU. If that CPU does not exist, the group has one child only,
//! and no node: nobody could meet there.

use crate::cpu::CpuId;
use crate::mask::CpuMask;

/// How the CPUs of a machine are grouped. Two values that the compiler knows, unless the port chooses at run time.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    fan_in: usize,
    cpus: usize,
}

impl Shape {
    #[inline(always)]
    pub(crate) const fn new(fan_in: usize, cpus: usize) -> Shape {
        Shape { fan_in: if fan_in < 2 { 2 } else { fan_in }, cpus }
    }

    /// How many levels there are; at least one.
    #[inline(always)]
    pub(crate) const fn levels(self) -> usize {
        let (mut levels, mut covered) = (1, self.fan_in);
        while covered < self.cpus {
            covered = covered.saturating_mul(self.fan_in);
            levels += 1;
        }
        levels
    }

    /// The level of the root.
    #[inline(always)]
    pub(crate) const fn top(self) -> usize {
        self.levels() - 1
    }

    /// The lowest level at which there is one group with all `members` in it. A machine that is much larger than what is online needs no more levels.
    pub(crate) fn meet<const W: usize>(self, members: &CpuMask<W>) -> usize {
        let first = members.first().map_or(0, CpuId::index);
        let last = members.last().map_or(0, CpuId::index);
        let mut level = 0;
        while level < self.top() && first / self.child(level + 1) != last / self.child(level + 1) {
            level += 1;
        }
        level
    }

    /// How many CPUs a child of `level` covers: 1, f, f², ...
    #[inline(always)]
    pub(crate) const fn child(self, level: usize) -> usize {
        let (mut child, mut at) = (1, 0);
        while at < level {
            child *= self.fan_in;
            at += 1;
        }
        child
    }

    /// The CPU that stores the node of `cpu` at `level`; none if that group has one child only.
    #[inline(always)]
    pub(crate) const fn host(self, level: usize, cpu: usize) -> Option<usize> {
        let child = self.child(level);
        let first = cpu - cpu % child.saturating_mul(self.fan_in);
        let host = first + child - 1;
        if host < self.cpus { Some(host) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::cpu::CpuId;
    use crate::mask::CpuMask;

    /// The CPUs that store a node, with the node that each stores: (level, group).
    fn nodes(shape: Shape) -> impl Iterator<Item = (usize, (usize, usize))> {
        (0..shape.levels()).flat_map(move |level| {
            let size = shape.child(level) * shape.fan_in;
            (0..shape.cpus)
                .step_by(size)
                .filter_map(move |cpu| shape.host(level, cpu).map(|host| (host, (level, cpu / size))))
        })
    }

    #[test]
    #[cfg_attr(miri, ignore = "plain arithmetic, and a lot of it")]
    fn no_cpu_stores_two_nodes_and_the_members_of_a_group_find_the_same() {
        for fan_in in 2..=9 {
            for cpus in 1..=130 {
                let shape = Shape::new(fan_in, cpus);
                let mut stored = [None; 130];
                for (host, node) in nodes(shape) {
                    assert_eq!(stored[host].replace(node), None, "fan_in {fan_in}, {cpus} CPUs: CPU {host}");
                }
                for level in 0..shape.levels() {
                    let size = shape.child(level) * fan_in;
                    for cpu in 0..cpus {
                        let first = cpu - cpu % size;
                        assert_eq!(shape.host(level, cpu), shape.host(level, first));
                        // Without a node there is one child.
                        let children = size.min(cpus - first).div_ceil(shape.child(level));
                        assert!(shape.host(level, cpu).is_some() || children == 1);
                    }
                }
                assert!(shape.host(shape.top(), 0).is_some(), "the root has a node");
            }
        }
    }

    #[test]
    fn members_meet_in_the_lowest_group_that_has_all_of_them() {
        let shape = Shape::new(2, 64);
        for (first, last, level) in
            [(0, 0, 0), (0, 1, 0), (1, 2, 1), (2, 3, 0), (0, 3, 1), (3, 4, 2), (31, 32, 5), (0, 63, 5)]
        {
            let members: CpuMask = [CpuId::new(first), CpuId::new(last)].into_iter().collect();
            assert_eq!(shape.meet(&members), level, "{members}");
        }
        assert_eq!(Shape::new(usize::MAX, 64).meet(&CpuMask::<1>::first_n(64)), 0);
    }

    #[test]
    fn a_small_machine_has_one_level_and_a_large_one_few() {
        for (cpus, levels) in [(1, 1), (8, 1), (9, 2), (64, 2), (65, 3), (512, 3), (4096, 4), (65535, 6)] {
            assert_eq!(Shape::new(8, cpus).levels(), levels, "{cpus} CPUs");
        }
        assert_eq!(Shape::new(usize::MAX, 4096).levels(), 1);
        assert_eq!(Shape::new(0, 4).levels(), 2, "less than 2 is 2");
    }
}
