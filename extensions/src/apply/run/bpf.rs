//! The system call filters of steps.
//!
//! One is for a step without network, where no network namespace can be had: sockets of any family but
//! UNIX cannot be made, nor io_uring, which could make them, too. The other lets requests to wait for the
//! disk succeed at once: package managers make thousands of them, and an image is not read off a disk
//! that lost its power. A process keeps everything else.

/// One instruction of the kernel's classic filter machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) value: u32,
}

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in what the filter sees of a call.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const FAIL: u32 = 0x0005_0000;
const EAFNOSUPPORT: u32 = 97;
const ENOSYS: u32 = 38;

const AF_UNIX: u32 = 1;
const IO_URING_SETUP: u32 = 425;

#[cfg(target_arch = "x86_64")]
const NATIVE: (u32, u32) = (0xc000_003e, 41);
#[cfg(target_arch = "aarch64")]
const NATIVE: (u32, u32) = (0xc000_00b7, 198);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: (u32, u32) = (0, 0);

/// `fsync`, `fdatasync`, `sync`, `syncfs`, `sync_file_range`. Not `msync`, by which programs find out what
/// memory they have.
#[cfg(target_arch = "x86_64")]
const SYNC: [u32; 5] = [74, 75, 162, 306, 277];
#[cfg(target_arch = "aarch64")]
const SYNC: [u32; 5] = [82, 83, 81, 267, 84];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const SYNC: [u32; 5] = [u32::MAX; 5];

/// Numbers from here on are those of x32, a second table of an x86-64 kernel.
const OTHER_TABLE: u32 = 0x4000_0000;

const fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, if_true: 0, if_false: 0, value: offset }
}

const fn jump(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

const fn end(value: u32) -> Instruction {
    Instruction { code: RETURN, if_true: 0, if_false: 0, value }
}

/// The filter: calls of other tables do not exist; `socket` is for UNIX only.
pub(super) const WITHOUT_NETWORK: [Instruction; 11] = [
    load(ARCHITECTURE),
    jump(JUMP_IF_EQUAL, NATIVE.0, 0, 7),
    load(NUMBER),
    jump(JUMP_IF_AT_LEAST, OTHER_TABLE, 5, 0),
    jump(JUMP_IF_EQUAL, IO_URING_SETUP, 4, 0),
    jump(JUMP_IF_EQUAL, NATIVE.1, 0, 2),
    load(FIRST_ARGUMENT),
    jump(JUMP_IF_EQUAL, AF_UNIX, 0, 2),
    end(ALLOW),
    end(FAIL | ENOSYS),
    end(FAIL | EAFNOSUPPORT),
];

/// The filter: waiting for the disk is over at once, with success; what other tables do counts as it is.
pub(super) const WITHOUT_SYNC: [Instruction; 10] = [
    load(ARCHITECTURE),
    jump(JUMP_IF_EQUAL, NATIVE.0, 0, 6),
    load(NUMBER),
    jump(JUMP_IF_EQUAL, SYNC[0], 5, 0),
    jump(JUMP_IF_EQUAL, SYNC[1], 4, 0),
    jump(JUMP_IF_EQUAL, SYNC[2], 3, 0),
    jump(JUMP_IF_EQUAL, SYNC[3], 2, 0),
    jump(JUMP_IF_EQUAL, SYNC[4], 1, 0),
    end(ALLOW),
    end(FAIL),
];

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    /// Runs a filter on a call.
    fn run(filter: &[Instruction], architecture: u32, number: u32, argument: u32) -> u32 {
        let mut at = 0;
        let mut loaded = 0;
        loop {
            let Instruction { code, if_true, if_false, value } = filter[at];
            let jump = |holds: bool| usize::from(if holds { if_true } else { if_false });
            at += 1;
            match code {
                LOAD if value == NUMBER => loaded = number,
                LOAD if value == ARCHITECTURE => loaded = architecture,
                LOAD => loaded = argument,
                JUMP_IF_EQUAL => at += jump(loaded == value),
                JUMP_IF_AT_LEAST => at += jump(loaded >= value),
                _ => return value,
            }
        }
    }

    fn judge(architecture: u32, number: u32, argument: u32) -> u32 {
        run(&WITHOUT_NETWORK, architecture, number, argument)
    }

    #[test]
    fn waiting_for_the_disk_succeeds_and_nothing_else_is_touched() {
        let judge = |architecture, number| run(&WITHOUT_SYNC, architecture, number, 3);
        let calls = [
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_sync,
            libc::SYS_syncfs,
            libc::SYS_sync_file_range,
        ];
        assert_eq!(calls.map(|call| u32::try_from(call).expect("a number")), SYNC);
        for number in 0..600 {
            let expected = if SYNC.contains(&number) { FAIL } else { ALLOW };
            assert_eq!(judge(NATIVE.0, number), expected, "{number}");
            assert_eq!(judge(NATIVE.0, OTHER_TABLE + number), ALLOW, "{number}");
            assert_eq!(judge(0x4000_0003, number), ALLOW, "{number}");
        }
        let socket = u32::try_from(libc::SYS_socket).expect("a number");
        assert_eq!(socket, NATIVE.1);
    }

    #[test]
    fn only_sockets_of_this_machine_can_be_made() {
        let (native, socket) = NATIVE;
        assert_eq!(judge(native, socket, AF_UNIX), ALLOW);
        for family in [2, 10, 16, 17, 40] {
            assert_eq!(judge(native, socket, family), FAIL | EAFNOSUPPORT);
        }
        assert_eq!(judge(native, IO_URING_SETUP, 0), FAIL | ENOSYS);
        assert_eq!(judge(native, 0, 2), ALLOW);
        assert_eq!(judge(native, OTHER_TABLE + socket, AF_UNIX), FAIL | ENOSYS);
        assert_eq!(judge(0x4000_0003, 359, 2), FAIL | ENOSYS);
    }
}
