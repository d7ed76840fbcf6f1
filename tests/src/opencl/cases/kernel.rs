//! Kernels.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Show, create, info, must, status};
use opencl_sys::*;
use std::ffi::CStr;
use std::ptr::{null, null_mut};

pub(super) fn cases() -> Vec<Case> {
    [creation(), properties(), of_arguments(), lives()].into_iter().flatten().collect()
}

fn creation() -> Vec<Case> {
    const NAMES: [(&str, &CStr); 9] = [
        ("named", c"fastcar"),
        ("unknown", c"slowcar"),
        ("empty", c""),
        ("longer", c"fastcar2"),
        ("shorter", c"fast"),
        ("unit", c"fastcar:{fastcar_1}"),
        ("unknown_unit", c"fastcar:{fastcar_2}"),
        ("one_known_unit", c"fastcar:{fastcar_1,fastcar_2}"),
        ("unit_without_braces", c"fastcar:fastcar_1"),
    ];
    let names = NAMES.into_iter().map(|(name, kernel)| {
        case(format!("kernel.create.{name}"), move |w| {
            create!(w, clCreateKernel(w.program()?, kernel.as_ptr()))
        })
    });
    let mut cases: Vec<Case> = names.collect();
    cases.extend([
        case("kernel.create.null_name", |w| create!(w, clCreateKernel(w.program()?, null()))),
        case("kernel.create.null_program", |w| create!(w, clCreateKernel(NULL, c"fastcar".as_ptr()))),
        case("kernel.create.garbage_program", |w| create!(w, clCreateKernel(garbage(), c"fastcar".as_ptr()))),
        case("kernel.create.after_build", |w| {
            must!(w, clBuildProgram(w.program()?, 0, null(), null(), None, NULL));
            create!(w, clCreateKernel(w.program()?, c"fastcar".as_ptr()))
        }),
        case("kernel.create.second", |w| {
            w.kernel()?;
            create!(w, clCreateKernel(w.program()?, c"fastcar".as_ptr()))
        }),
        case("kernel.all", |w| {
            let (mut kernels, mut count) = ([NULL; 4], 0);
            let list = kernels.as_mut_ptr();
            status!(w, clCreateKernelsInProgram(w.program()?, 4, list, &raw mut count))
        }),
        case("kernel.all.count", |w| {
            let mut count = 0;
            status!(w, clCreateKernelsInProgram(w.program()?, 0, null_mut(), &raw mut count))
        }),
        case("kernel.all.no_room", |w| {
            let mut kernel = NULL;
            status!(w, clCreateKernelsInProgram(w.program()?, 0, &raw mut kernel, null_mut()))
        }),
        case("kernel.all.null", |w| {
            let mut count = 0;
            status!(w, clCreateKernelsInProgram(NULL, 0, null_mut(), &raw mut count))
        }),
    ]);
    cases
}

fn properties() -> Vec<Case> {
    const PROPERTIES: [(&str, cl_kernel_info, Show); 7] = [
        ("function_name", CL_KERNEL_FUNCTION_NAME, Show::Exact),
        ("num_args", CL_KERNEL_NUM_ARGS, Show::Number),
        ("reference_count", CL_KERNEL_REFERENCE_COUNT, Show::Number),
        ("context", CL_KERNEL_CONTEXT, Show::Size),
        ("program", CL_KERNEL_PROGRAM, Show::Size),
        ("attributes", CL_KERNEL_ATTRIBUTES, Show::Nothing),
        ("unknown", 0x9999, Show::Nothing),
    ];
    const GROUPS: [(&str, cl_kernel_work_group_info, Show); 7] = [
        ("work_group_size", CL_KERNEL_WORK_GROUP_SIZE, Show::Number),
        ("compile_work_group_size", CL_KERNEL_COMPILE_WORK_GROUP_SIZE, Show::Number),
        ("local_mem_size", CL_KERNEL_LOCAL_MEM_SIZE, Show::Size),
        ("preferred_multiple", CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, Show::Size),
        ("private_mem_size", CL_KERNEL_PRIVATE_MEM_SIZE, Show::Size),
        ("global_work_size", CL_KERNEL_GLOBAL_WORK_SIZE, Show::Nothing),
        ("unknown", 0x9999, Show::Nothing),
    ];
    let info = PROPERTIES.into_iter().map(|(name, param, show)| {
        case(format!("kernel.info.{name}"), move |w| info!(w, show, clGetKernelInfo(w.kernel()?, param)))
    });
    let groups = GROUPS.into_iter().map(|(name, param, show)| {
        case(format!("kernel.group_info.{name}"), move |w| {
            info!(w, show, clGetKernelWorkGroupInfo(w.kernel()?, w.device()?, param))
        })
    });
    let mut cases: Vec<Case> = info.chain(groups).collect();
    cases.extend([
        case("kernel.info.null", |w| info!(w, Show::Number, clGetKernelInfo(NULL, CL_KERNEL_NUM_ARGS))),
        case("kernel.info.too_small", |w| {
            let (mut byte, kernel) = (0_u8, w.kernel()?);
            let value = (&raw mut byte).cast();
            status!(w, clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, 1, value, null_mut()))
        }),
        case("kernel.group_info.null_kernel", |w| {
            info!(w, Show::Size, clGetKernelWorkGroupInfo(NULL, w.device()?, CL_KERNEL_WORK_GROUP_SIZE))
        }),
        case("kernel.group_info.null_device", |w| {
            info!(w, Show::Size, clGetKernelWorkGroupInfo(w.kernel()?, NULL, CL_KERNEL_WORK_GROUP_SIZE))
        }),
    ]);
    cases
}

fn of_arguments() -> Vec<Case> {
    const PROPERTIES: [(&str, cl_uint, cl_kernel_arg_info, Show); 8] = [
        ("address_of_pointer", 0, CL_KERNEL_ARG_ADDRESS_QUALIFIER, Show::Number),
        ("address_of_number", 1, CL_KERNEL_ARG_ADDRESS_QUALIFIER, Show::Number),
        ("access", 0, CL_KERNEL_ARG_ACCESS_QUALIFIER, Show::Number),
        ("type_name", 0, CL_KERNEL_ARG_TYPE_NAME, Show::Text),
        ("type_qualifier", 0, CL_KERNEL_ARG_TYPE_QUALIFIER, Show::Number),
        ("name", 0, CL_KERNEL_ARG_NAME, Show::Exact),
        ("beyond", 99, CL_KERNEL_ARG_NAME, Show::Nothing),
        ("unknown", 0, 0x9999, Show::Nothing),
    ];
    let info = PROPERTIES.into_iter().map(|(name, index, param, show)| {
        case(format!("kernel.arg_info.{name}"), move |w| {
            info!(w, show, clGetKernelArgInfo(w.kernel()?, index, param))
        })
    });
    info.chain([case("kernel.arg_info.null", |w| {
        info!(w, Show::Nothing, clGetKernelArgInfo(NULL, 0, CL_KERNEL_ARG_NAME))
    })])
    .collect()
}

fn lives() -> Vec<Case> {
    vec![
        case("kernel.retain", |w| status!(w, clRetainKernel(w.kernel()?))),
        case("kernel.retain.null", |w| status!(w, clRetainKernel(NULL))),
        case("kernel.release", |w| status!(w, clReleaseKernel(w.kernel()?))),
        case("kernel.release.null", |w| status!(w, clReleaseKernel(NULL))),
        case("kernel.release.garbage", |w| status!(w, clReleaseKernel(garbage()))),
        case("kernel.release.twice", |w| {
            must!(w, clReleaseKernel(w.kernel()?));
            status!(w, clReleaseKernel(w.kernel()?))
        }),
        case("kernel.release.after_program", |w| {
            let (program, kernel) = (w.program()?, w.kernel()?);
            must!(w, clReleaseProgram(program));
            status!(w, clReleaseKernel(kernel))
        }),
    ]
}
