//! Data races on plain memory.

use super::*;

impl Words {
    fn write_cell(&self, value: usize) {
        // SAFETY: whether another access is concurrent is what the programs below are about: the model says so, and nothing is torn.
        unsafe { self.cell.write(value) }
    }

    fn read_cell(&self) -> usize {
        // SAFETY: as above; each program writes before anybody reads.
        unsafe { self.cell.read() }
    }
}

fn races(memory: MemoryModel, bodies: &[Body], on_ipi: Body) -> bool {
    let (_, faults) = all_ends(memory, bodies, on_ipi);
    assert!(faults.is_empty() || faults == ["race".to_string()].into(), "{faults:?}");
    !faults.is_empty()
}

#[test]
fn plain_memory_is_published_by_release_and_acquire_alone() {
    let release: Body = |w| {
        w.write_cell(7);
        w.y.store(1, Release);
    };
    let relaxed: Body = |w| {
        w.write_cell(7);
        w.y.store(1, Relaxed);
    };
    let fenced: Body = |w| {
        w.write_cell(7);
        Model.fence();
        w.y.store(1, Relaxed);
    };
    let acquire: Body = |w| {
        wait(&w.y, Acquire, 1);
        w.saw(0, w.read_cell());
    };
    let relaxed_load: Body = |w| {
        wait(&w.y, Relaxed, 1);
        w.saw(0, w.read_cell());
    };
    let fenced_load: Body = |w| {
        wait(&w.y, Relaxed, 1);
        Model.fence();
        w.saw(0, w.read_cell());
    };
    for memory in [SC, TSO, UNFENCED, RA] {
        for good in [[release, acquire], [fenced, acquire], [release, fenced_load], [fenced, fenced_load]] {
            assert!(!races(memory, &good, NOTHING), "{memory:?}");
        }
        for bad in
            [[relaxed, acquire], [release, relaxed_load], [relaxed, fenced_load], [fenced, relaxed_load]]
        {
            assert!(races(memory, &bad, NOTHING), "{memory:?}");
        }
    }
}

#[test]
fn two_reads_do_not_race_and_a_read_and_a_later_write_do() {
    let begin: Body = |w| {
        w.write_cell(7);
        w.x.store(1, Release);
        w.saw(0, w.read_cell());
    };
    let read: Body = |w| {
        wait(&w.x, Acquire, 1);
        w.saw(1, w.read_cell());
        w.y.store(1, Release);
    };
    let write: Body = |w| {
        wait(&w.x, Acquire, 1);
        w.write_cell(8);
    };
    let write_later: Body = |w| {
        wait(&w.y, Acquire, 1);
        w.write_cell(8);
    };
    let begin_alone: Body = |w| {
        w.write_cell(7);
        w.x.store(1, Release);
    };
    for memory in [SC, TSO, UNFENCED, RA] {
        assert!(!races(memory, &[begin, read, read], NOTHING));
        assert!(races(memory, &[begin, write], NOTHING), "the first CPU reads when it likes");
        assert!(races(memory, &[begin_alone, read, write], NOTHING), "the second reads when it likes");
        assert!(!races(memory, &[begin_alone, read, write_later], NOTHING));
    }
}

#[test]
fn an_ipi_publishes_plain_memory_where_sends_are_fenced() {
    let bodies: [Body; 2] = [
        |w| {
            w.write_cell(7);
            Model.send_ipi(CpuId::new(1), Ipi::Call);
        },
        |_| {
            let flags = Model.irq_save();
            // SAFETY: from the line above.
            unsafe { Model.irq_restore(flags) };
        },
    ];
    let handler: Body = |w| w.saw(0, w.read_cell());
    for memory in [SC, TSO, RA] {
        assert!(!races(memory, &bodies, handler));
    }
    assert!(races(UNFENCED, &bodies, handler));
}
