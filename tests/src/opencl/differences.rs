//! Where the simulator's platform answers otherwise than XRT on purpose, and why.

use super::record::Row;

/// Cases that differ for one reason.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// In a few words.
    pub title: &'static str,
    /// What XRT does, what the simulator's platform does instead, and why.
    pub reason: &'static str,
    /// Whether XRT reads memory there that is not its own, so that its answer may be another the next time.
    pub undefined: bool,
    /// Case, and the simulator's status and value with a comma between.
    pub cases: &'static [(&'static str, &'static str)],
}

/// A fault of the list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// No such case, or it stands twice.
    #[error(
        "the list of differences names {count} times '{case}', which the recording holds {recorded} times"
    )]
    Case {
        /// The case.
        case: String,
        /// Times in the list.
        count: usize,
        /// Times in the recording.
        recorded: usize,
    },
    /// The case does not differ.
    #[error("the list of differences holds '{case}', where both answer {answer}")]
    Same {
        /// The case.
        case: String,
        /// The answer of both.
        answer: String,
    },
}

/// Whether XRT's answer to a case may be another the next time.
#[must_use]
pub fn undefined(case: &str) -> bool {
    DIFFERENCES.iter().any(|d| d.undefined && d.cases.iter().any(|c| c.0 == case))
}

/// What the simulator's platform has to answer, given what XRT answered.
///
/// # Errors
/// [`ListError`] when the list does not fit the recording.
pub fn expected(recorded: &[Row]) -> Result<Vec<Row>, ListError> {
    with(DIFFERENCES, recorded)
}

fn with(differences: &[Difference], recorded: &[Row]) -> Result<Vec<Row>, ListError> {
    let mut rows = recorded.to_vec();
    let listed = || differences.iter().flat_map(|d| d.cases);
    for &(case, answer) in listed() {
        let count = listed().filter(|c| c.0 == case).count();
        let mut found: Vec<&mut Row> = rows.iter_mut().filter(|row| row.case == case).collect();
        let [row] = &mut found[..] else {
            return Err(ListError::Case { case: case.to_owned(), count, recorded: found.len() });
        };
        if count != 1 {
            return Err(ListError::Case { case: case.to_owned(), count, recorded: 1 });
        }
        let (status, value) = answer.split_once(',').unwrap_or((answer, ""));
        if row.status == status && row.value == value {
            return Err(ListError::Same { case: case.to_owned(), answer: answer.to_owned() });
        }
        (row.status, row.value) = (status.to_owned(), value.to_owned());
    }
    Ok(rows)
}

/// The list.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        title: "Crashes and hangs",
        reason: "XRT crashes or never comes back. The simulator's platform checks the argument and answers \
                 the status that OpenCL names for it.",
        undefined: false,
        cases: &[
            ("buffer.create.read_only_and_write_only", "CL_INVALID_VALUE,null"),
            ("buffer.create.read_write_and_read_only", "CL_INVALID_VALUE,null"),
            ("argument.number.null_value", "CL_INVALID_ARG_VALUE"),
            ("argument.null_kernel", "CL_INVALID_KERNEL"),
            ("argument.pointer.null_value", "CL_INVALID_ARG_VALUE"),
            ("argument.pointer.null_buffer", "CL_INVALID_MEM_OBJECT"),
            ("transfer.read.null_buffer", "CL_INVALID_MEM_OBJECT"),
            ("transfer.write.null_buffer", "CL_INVALID_MEM_OBJECT"),
            ("event.wait.failed_user", "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"),
            ("event.wait.none", "CL_INVALID_VALUE"),
            ("event.wait.null_list", "CL_INVALID_VALUE"),
            ("event.wait.null_event", "CL_INVALID_EVENT"),
            ("event.profile.user", "CL_PROFILING_INFO_NOT_AVAILABLE"),
        ],
    },
    Difference {
        title: "Memory that is no object",
        reason: "XRT takes any address but zero for an object and works with what it finds there: objects \
                 already released, objects of another kind, memory that never was one. The simulator's \
                 platform knows its live objects and refuses all others.",
        undefined: true,
        cases: &[
            ("platform.info.garbage_platform", "CL_INVALID_PLATFORM"),
            ("device.info.garbage_device", "CL_INVALID_DEVICE"),
            ("context.release.garbage", "CL_INVALID_CONTEXT"),
            ("context.release.queue", "CL_INVALID_CONTEXT"),
            ("context.release.twice", "CL_INVALID_CONTEXT"),
            ("queue.create.garbage_context", "CL_INVALID_CONTEXT,null"),
            ("queue.create.garbage_device", "CL_INVALID_DEVICE,null"),
            ("queue.release.garbage", "CL_INVALID_COMMAND_QUEUE"),
            ("queue.release.twice", "CL_INVALID_COMMAND_QUEUE"),
            ("queue.finish.garbage", "CL_INVALID_COMMAND_QUEUE"),
            ("queue.finish.context", "CL_INVALID_COMMAND_QUEUE"),
            ("queue.finish.released", "CL_INVALID_COMMAND_QUEUE"),
            ("buffer.create.garbage_context", "CL_INVALID_CONTEXT,null"),
            ("buffer.info.garbage", "CL_INVALID_MEM_OBJECT"),
            ("buffer.release.garbage", "CL_INVALID_MEM_OBJECT"),
            ("buffer.release.twice", "CL_INVALID_MEM_OBJECT"),
            ("buffer.write_released", "CL_INVALID_MEM_OBJECT"),
            ("program.release.garbage", "CL_INVALID_PROGRAM"),
            ("program.release.twice", "CL_INVALID_PROGRAM"),
            ("kernel.create.garbage_program", "CL_INVALID_PROGRAM,null"),
            ("kernel.release.garbage", "CL_INVALID_KERNEL"),
            ("kernel.release.twice", "CL_INVALID_KERNEL"),
            ("argument.garbage_kernel", "CL_INVALID_KERNEL"),
            ("argument.pointer.garbage_buffer", "CL_INVALID_MEM_OBJECT"),
            ("argument.pointer.queue", "CL_INVALID_MEM_OBJECT"),
            ("launch.task.garbage_queue", "CL_INVALID_COMMAND_QUEUE"),
            ("launch.wait.garbage_event", "CL_INVALID_EVENT_WAIT_LIST"),
            ("transfer.write.garbage_buffer", "CL_INVALID_MEM_OBJECT"),
            ("event.user.set_garbage", "CL_INVALID_EVENT"),
            ("event.release.garbage", "CL_INVALID_EVENT"),
            ("event.wait.garbage_event", "CL_INVALID_EVENT"),
        ],
    },
    Difference {
        title: "Images that are none",
        reason: "XRT reads sections wherever the header says they are, even beyond the bytes given. The \
                 simulator's platform checks the whole container first.",
        undefined: true,
        cases: &[
            ("program.load.garbage", "CL_INVALID_BINARY,null"),
            ("program.load.zeros", "CL_INVALID_BINARY,null"),
            ("program.load.magic_only", "CL_INVALID_BINARY,null"),
            ("program.load.bad_magic", "CL_INVALID_BINARY,null"),
            ("program.load.truncated", "CL_INVALID_BINARY,null"),
            ("program.load.half_header", "CL_INVALID_BINARY,null"),
            ("program.load.length_too_long", "CL_INVALID_BINARY,null"),
            ("program.load.no_sections", "CL_INVALID_BINARY,null"),
            ("program.load.too_many_sections", "CL_INVALID_BINARY,null"),
        ],
    },
    Difference {
        title: "One status for every exception",
        reason: "XRT answers CL_OUT_OF_HOST_MEMORY, or a number that is no status of OpenCL (-20: not \
                 implemented), for whatever it did not foresee. The simulator's platform answers the status \
                 that says what is wrong.",
        undefined: false,
        cases: &[
            ("buffer.bank.of_unknown_argument", "CL_INVALID_ARG_INDEX,null"),
            ("buffer.info.offset", "CL_SUCCESS,0"),
            ("buffer.info.image_info", "CL_INVALID_MEM_OBJECT"),
            ("program.load.another_image", "CL_OUT_OF_RESOURCES,null"),
            ("kernel.create.unknown_unit", "CL_INVALID_KERNEL_NAME,null"),
            ("kernel.group_info.preferred_multiple", "CL_SUCCESS,8 bytes"),
            ("launch.native", "CL_INVALID_OPERATION"),
            ("other.image.null_format", "CL_INVALID_OPERATION,null"),
            ("other.image.null_context", "CL_INVALID_OPERATION,null"),
        ],
    },
    Difference {
        title: "Limits that are not checked",
        reason: "XRT takes sizes, offsets, flags, platforms and contexts that OpenCL lets it refuse, and \
                 fails later or not at all: sizes beyond the device's memory, banks that the image does not \
                 have, offsets that wrap, rectangles beyond the buffer, sub-buffers off the alignment that \
                 the device asks for, objects of another context. The simulator's platform refuses them in \
                 the call.",
        undefined: false,
        cases: &[
            ("platform.ids.nothing_asked", "CL_INVALID_VALUE"),
            ("platform.info.null_platform", "CL_INVALID_PLATFORM"),
            ("device.ids.nothing_asked", "CL_INVALID_VALUE"),
            ("device.ids.null_platform", "CL_INVALID_PLATFORM"),
            ("device.sub_devices", "CL_INVALID_VALUE"),
            ("buffer.create.too_big", "CL_INVALID_BUFFER_SIZE,null"),
            ("buffer.create.absurd", "CL_INVALID_BUFFER_SIZE,null"),
            ("buffer.create.bigger_than_a_bank", "CL_INVALID_BUFFER_SIZE,null"),
            ("buffer.bank.beyond_last", "CL_MEM_OBJECT_ALLOCATION_FAILURE,null"),
            ("buffer.bank.far_beyond", "CL_MEM_OBJECT_ALLOCATION_FAILURE,null"),
            ("buffer.bank.write_beyond_last", "setup clCreateBuffer CL_MEM_OBJECT_ALLOCATION_FAILURE"),
            ("buffer.bank.write_bigger_than_bank", "setup clCreateBuffer CL_INVALID_BUFFER_SIZE"),
            ("buffer.part.unaligned", "CL_MISALIGNED_SUB_BUFFER_OFFSET,null"),
            ("buffer.part.aligned_to_64", "CL_MISALIGNED_SUB_BUFFER_OFFSET,null"),
            ("argument.pointer.foreign_buffer", "CL_INVALID_MEM_OBJECT"),
            ("launch.task.foreign_queue", "CL_INVALID_CONTEXT"),
            ("transfer.read.wrapping", "CL_INVALID_VALUE"),
            ("transfer.write.wrapping", "CL_INVALID_VALUE"),
            ("transfer.rectangle.beyond", "CL_INVALID_VALUE"),
            ("transfer.rectangle.empty", "CL_INVALID_VALUE"),
            ("transfer.rectangle.pitch_too_small", "CL_INVALID_VALUE"),
            ("transfer.map.unknown_flag", "CL_INVALID_VALUE,null"),
            ("event.queue_wait.none", "CL_INVALID_VALUE"),
        ],
    },
    Difference {
        title: "What neither has",
        reason: "There are no sources, images or pipes in either, and no linker. XRT looks at some arguments \
                 first, or answers as if all were well; the simulator's platform answers one status to each \
                 such call, whatever its arguments.",
        undefined: false,
        cases: &[
            ("program.source", "CL_COMPILER_NOT_AVAILABLE,null"),
            ("program.source.no_texts", "CL_COMPILER_NOT_AVAILABLE,null"),
            ("program.source.null_context", "CL_COMPILER_NOT_AVAILABLE,null"),
            ("program.link", "CL_LINKER_NOT_AVAILABLE,null"),
            ("other.image.formats", "CL_INVALID_OPERATION"),
            ("other.image.formats.null_context", "CL_INVALID_OPERATION"),
            ("other.pipe.empty", "CL_INVALID_OPERATION,null"),
        ],
    },
    Difference {
        title: "Another status for the same refusal",
        reason: "Both refuse. The simulator's platform answers the status that the OpenCL specification names \
                 for the case (for AMD's extension, where there is none, the one that says what is wrong), \
                 where XRT answers another one.",
        undefined: false,
        cases: &[
            ("device.ids.unknown_type", "CL_INVALID_DEVICE_TYPE"),
            ("context.create.unknown_property", "CL_INVALID_PROPERTY,null"),
            ("buffer.bank.of_number_argument", "CL_INVALID_ARG_INDEX,null"),
            ("buffer.part.empty", "CL_INVALID_BUFFER_SIZE,null"),
            ("program.built_in", "CL_INVALID_VALUE,null"),
            ("program.compile", "CL_COMPILER_NOT_AVAILABLE"),
            ("launch.task.null_kernel", "CL_INVALID_KERNEL"),
            ("launch.range.null_kernel", "CL_INVALID_KERNEL"),
            ("launch.wait.null_list", "CL_INVALID_EVENT_WAIT_LIST"),
            ("launch.wait.list_without_count", "CL_INVALID_EVENT_WAIT_LIST"),
            ("launch.wait.null_event", "CL_INVALID_EVENT_WAIT_LIST"),
            ("transfer.write.null_wait_list", "CL_INVALID_EVENT_WAIT_LIST"),
            ("event.user.set_of_a_command", "CL_INVALID_EVENT"),
            ("event.marker.null_list", "CL_INVALID_EVENT_WAIT_LIST"),
        ],
    },
    Difference {
        title: "Properties",
        reason: "XRT gives numbers that are not those of the specification (addresses and access of kernel \
                 arguments, the type of a task, the kind of a loaded binary), does not count maps, answers a \
                 property of OpenCL 2, and has the status of a destructor's registration the wrong way round. \
                 The simulator's platform follows the specification. For the properties of a context made \
                 without any, the specification allows either: an empty list (XRT) or none.",
        undefined: false,
        cases: &[
            ("device.info.svm_capabilities", "CL_INVALID_VALUE"),
            ("context.info.properties", "CL_SUCCESS,0 bytes"),
            ("buffer.destructor", "CL_SUCCESS"),
            ("buffer.destructor.null", "CL_INVALID_VALUE"),
            ("program.build_info.binary_type", "CL_SUCCESS,4"),
            ("kernel.arg_info.address_of_pointer", "CL_SUCCESS,4507"),
            ("kernel.arg_info.address_of_number", "CL_SUCCESS,4510"),
            ("kernel.arg_info.access", "CL_SUCCESS,4515"),
            ("kernel.arg_info.type_qualifier", "CL_SUCCESS,0"),
            ("transfer.map.count", "CL_SUCCESS,1"),
            ("event.info.type_of_a_task", "CL_SUCCESS,4593"),
        ],
    },
    Difference {
        title: "A device that computes",
        reason: "The no-op device says that it is not available and copies nothing from buffer to buffer; a \
                 callback for a user event that fails is never called, since XRT never ends its command. The \
                 simulator's device is available, copies, and ends failed events.",
        undefined: false,
        cases: &[
            ("device.info.available", "CL_SUCCESS,1"),
            ("transfer.value.copy", "CL_SUCCESS,the bytes"),
            ("event.callback.failed_user", "CL_SUCCESS,told -5"),
        ],
    },
    Difference {
        title: "What only one of them has",
        reason: "XRT 2.13 lacks functions of OpenCL 2 that loaders may call, says that it has a linker, \
                 changes properties of a queue in use, and has a function for device addresses. The \
                 simulator's platform creates queues by clCreateCommandQueueWithProperties too, and has \
                 neither linker nor changing queues nor device addresses, and says so.",
        undefined: false,
        cases: &[
            ("device.info.linker_available", "CL_SUCCESS,0"),
            ("queue.create.with_properties", "CL_SUCCESS,object"),
            ("queue.set_property", "CL_INVALID_OPERATION"),
            ("program.il", "CL_INVALID_OPERATION,null"),
            ("argument.svm", "CL_INVALID_OPERATION"),
            ("other.extension.device_address", "CL_SUCCESS,null"),
        ],
    },
    Difference {
        title: "Compute units by name",
        reason: "A kernel may be created for some of its compute units, `kernel:{unit,unit}`. XRT takes the \
                 units that it knows and ignores the others; the simulator's platform refuses a name that is \
                 no unit.",
        undefined: false,
        cases: &[("kernel.create.one_known_unit", "CL_INVALID_KERNEL_NAME,null")],
    },
    Difference {
        title: "Several work groups",
        reason: "The kernel does one run per launch. XRT starts it once per work group of a larger range; the \
                 simulator's platform refuses the range, since two runs of one step table overwrite each \
                 other.",
        undefined: false,
        cases: &[("launch.range.two_in_two_groups", "CL_INVALID_GLOBAL_WORK_SIZE")],
    },
    Difference {
        title: "Buffers without a place",
        reason: "A buffer has a bank from a flag or from the first kernel argument that it is set to. XRT \
                 takes transfers of a buffer that has none: the call succeeds, the command fails when it \
                 runs, and later calls answer CL_OUT_OF_RESOURCES. The simulator's platform refuses the call.",
        undefined: false,
        cases: &[
            (
                "argument.bank.placed_by_write_elsewhere",
                "setup clEnqueueWriteBuffer CL_MEM_OBJECT_ALLOCATION_FAILURE",
            ),
            ("transfer.write.before_program", "CL_MEM_OBJECT_ALLOCATION_FAILURE"),
            ("transfer.unplaced.write", "CL_MEM_OBJECT_ALLOCATION_FAILURE"),
            ("transfer.unplaced.read", "CL_MEM_OBJECT_ALLOCATION_FAILURE"),
            ("transfer.unplaced.write_twice", "CL_MEM_OBJECT_ALLOCATION_FAILURE"),
            (
                "transfer.unplaced.status_of_write",
                "setup clEnqueueWriteBuffer CL_MEM_OBJECT_ALLOCATION_FAILURE",
            ),
            ("transfer.unplaced.map", "CL_MEM_OBJECT_ALLOCATION_FAILURE,null"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cases: &'static [(&'static str, &'static str)]) -> String {
        let recorded = ["a", "b"].map(|case| Row {
            case: case.to_owned(),
            status: "crash".to_owned(),
            value: String::new(),
        });
        let differences = [Difference { title: "", reason: "", undefined: false, cases }];
        match with(&differences, &recorded) {
            Ok(rows) => rows.iter().map(|r| format!("{} {} {};", r.case, r.status, r.value)).collect(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn list_replaces_answers_and_has_to_fit() {
        assert_eq!(answer(&[("b", "CL_SUCCESS,4 bytes")]), "a crash ;b CL_SUCCESS 4 bytes;");
        assert_eq!(answer(&[("b", "crash")]), "the list of differences holds 'b', where both answer crash");
        let twice = answer(&[("a", "CL_SUCCESS"), ("a", "CL_SUCCESS")]);
        assert_eq!(twice, "the list of differences names 2 times 'a', which the recording holds 1 times");
        let unknown = answer(&[("c", "CL_SUCCESS")]);
        assert_eq!(unknown, "the list of differences names 1 times 'c', which the recording holds 0 times");
    }
}
