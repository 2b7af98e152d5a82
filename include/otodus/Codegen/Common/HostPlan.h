//===- HostPlan.h - What the runtime is told about a module ----------------===//

#pragma once

#include "otodus/Formats/Artefact.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LogicalResult.h"

namespace otodus {

/// Fills buffers, launches, states, prepared weights and functions of `program` from a module at
/// the kernel stage: every public function becomes one plan, calls are expanded, scratch buffers
/// that are never alive together share memory. A diagnostic on failure.
///
/// Attributes of function arguments and results that matter here:
///   mega.name = "x"       an input or output
///   mega.position         i64[B], absolute position of the first new step
///   mega.state = "name"   a state; mega.initial, mega.initial_from, mega.initial_exp say what a
///                         fresh sequence has
///
/// What a plan can do, and is an error otherwise: inputs have any batch and time; a state is updated
/// by one op and returned under its name, since kernels write it in place; functions share a state
/// by name, with one type and one fresh value; all attention of a function has one chunk; calls do
/// not recurse.
mlir::LogicalResult buildHostPlan(mlir::ModuleOp module, formats::Program &program);

} // namespace otodus
