//! What this machine runs on.

use core::arch::x86_64::__cpuid;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

/// The leaf in which hypervisors say who they are.
const HYPERVISOR: u32 = 0x4000_0000;

/// The instructions are translated by QEMU.
static TRANSLATED: AtomicBool = AtomicBool::new(false);

/// Looks where this runs, on the boot CPU.
pub(crate) fn find() {
    let is_virtual = __cpuid(1).ecx & 1 << 31 != 0;
    TRANSLATED.store(is_virtual && is_translator(&__cpuid(HYPERVISOR)), Relaxed);
}

fn is_translator(leaf: &core::arch::x86_64::CpuidResult) -> bool {
    [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes) == [*b"TCGT", *b"CGTC", *b"GTCG"]
}

/// In each turn of a loop that waits for another CPU. The other CPU of a core gets more of it, and a hypervisor may let another one run. QEMU's translator does neither:
/// it takes a pause for a way out to its main loop and through its one big lock, which is in the way of the very CPU that is waited for.
#[inline]
pub fn relax() {
    if !TRANSLATED.load(Relaxed) {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use core::arch::x86_64::CpuidResult;

    use super::is_translator;

    #[test]
    fn the_translator_is_known_by_its_name() {
        let word = |text: &[u8; 4]| u32::from_le_bytes(*text);
        let leaf = |b, c, d| CpuidResult { eax: 0, ebx: word(b), ecx: word(c), edx: word(d) };
        assert!(is_translator(&leaf(b"TCGT", b"CGTC", b"GTCG")));
        assert!(!is_translator(&leaf(b"KVMK", b"VMKV", b"M\0\0\0")));
    }
}
