//! The files that are damaged: made by the command itself.

use std::path::Path;

/// Their names, and the command lines that make them.
const MADE: [(&str, &str); 4] = [
    ("seed.replay", "check --protocol linux-3.14 --save"),
    (
        "seed.part",
        "check --engine dpor --irqs 0 --protocol linux-3.14 --max-seconds 1 --shard 1/1 --part-file",
    ),
    ("seed.matrix", "check --matrix --protocol linux-3.14 --cpus 2 --shard 1/1 --part-file"),
    ("seed.checkpoint", "check --cpus 3 --max-states 1 --checkpoint"),
];

/// What a machine in QEMU prints.
const SERIAL: &str = "standstill kernel: 4 CPUs\n\
@progress {\"t_ns\":1,\"sent\":9,\"ran\":8,\"refused\":1,\"down\":2,\"up\":3,\"online\":4,\"cycles\":1,\"late\":0,\"lost\":0,\
\"spurious\":0,\"outside\":0,\"frozen\":0,\"drained\":6,\"stalls\":0}\n\
a rule is broken: none\n\
@report {\"ran_ns\":1000,\"calls\":[],\"late\":0,\"lost\":0,\"spurious\":0,\"outside\":0,\"frozen\":0,\"drained\":0,\"stalls\":0,\
\"hotplug\":{\"down\":{\"tried\":1,\"ok\":1,\"vetoed\":0,\"latency\":{\"n\":0,\"min_ns\":0,\"mean_ns\":0,\"p50_ns\":0,\"p99_ns\":0,\
\"max_ns\":0}},\"up\":{\"tried\":1,\"ok\":1,\"vetoed\":0,\"latency\":{\"n\":0,\"min_ns\":0,\"mean_ns\":0,\"p50_ns\":0,\
\"p99_ns\":0,\"max_ns\":0}},\"first_veto\":null,\"cycles\":[1,1]},\"stop\":{\"count\":1,\"aborted\":0,\"frozen\":{\"n\":0,\
\"min_ns\":0,\"mean_ns\":0,\"p50_ns\":0,\"p99_ns\":0,\"max_ns\":0}},\"rules\":[],\"first_stall\":null,\"first_failure\":null,\
\"first_late\":null,\"first_lost\":null}\n";

/// In place of QEMU: prints what it finds instead of booting.
const QEMU: &str = "#!/bin/sh\ncase \"$1\" in --version) echo 'QEMU emulator version 0'; exit 0;; esac\n\
cat serial\nexit 33\n";

/// Makes them in `dir`; false if one could not be made.
pub(crate) fn make(dir: &Path) -> bool {
    let made = MADE.iter().all(|(name, line)| {
        let words = std::iter::once("standstill").chain(line.split(' ')).map(Into::into);
        let _ = standstill_cli::run(words.chain([dir.join(name).into()]));
        dir.join(name).exists()
    });
    let written = std::fs::write(dir.join("seed.serial"), SERIAL)
        .and_then(|()| std::fs::write(dir.join("qemu"), QEMU))
        .and_then(|()| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(dir.join("qemu"), std::fs::Permissions::from_mode(0o755))
        });
    made && written.is_ok()
}

/// Those of them that are there, in the folder where the lines are tried.
pub(crate) fn read() -> Vec<(String, Vec<u8>)> {
    let names = MADE.iter().map(|(name, _)| *name).chain(["seed.serial"]);
    names.filter_map(|name| Some((name.to_string(), std::fs::read(name).ok()?))).collect()
}
