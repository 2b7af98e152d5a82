# Finds LLVM and MLIR 22 and makes mlir-tblgen's helpers available.
find_package(MLIR REQUIRED CONFIG HINTS /usr/lib/llvm-22)
if(NOT LLVM_VERSION_MAJOR EQUAL 22)
  message(FATAL_ERROR "otodus needs LLVM 22, but ${MLIR_DIR} is LLVM ${LLVM_PACKAGE_VERSION}")
endif()
set(MLIR_BINARY_DIR ${PROJECT_BINARY_DIR}) # generated docs land in build/docs
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)

include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
include_directories(${PROJECT_SOURCE_DIR}/dialects ${PROJECT_BINARY_DIR}/dialects
                    ${PROJECT_BINARY_DIR}/include)

# One library of the compiler: built without exceptions and RTTI as LLVM is, linked
# against the shared libMLIR and libLLVM.
#   otodus_add_compiler_library(NAME sources... LINK_LIBS libs... DEPENDS targets...)
function(otodus_add_compiler_library name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_compile_options(${name} PRIVATE -fno-rtti -fno-exceptions)
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS} MLIR LLVM)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  if(NOT name STREQUAL OtodusMega AND TARGET OtodusMlirPch)
    target_precompile_headers(${name} REUSE_FROM OtodusMlirPch)
  endif()
endfunction()

# Lets a program load passes of others (--load-pass-plugin). They use the mega dialect of the
# program, all of it, since a second copy would be another dialect with other TypeIDs.
function(otodus_load_plugins program)
  set_target_properties(${program} PROPERTIES
    ENABLE_EXPORTS ON
    LINK_LIBRARY_OVERRIDE WHOLE_ARCHIVE,OtodusMega)
endfunction()

# MLIR's headers, parsed once for all libraries of the compiler.
file(WRITE ${PROJECT_BINARY_DIR}/pch/empty.cpp "")
add_library(OtodusMlirPch STATIC ${PROJECT_BINARY_DIR}/pch/empty.cpp)
target_compile_options(OtodusMlirPch PRIVATE -fno-rtti -fno-exceptions)
target_precompile_headers(OtodusMlirPch PRIVATE
  <mlir/IR/Builders.h> <mlir/IR/BuiltinOps.h> <mlir/IR/PatternMatch.h> <mlir/Pass/PassManager.h>
  <mlir/Dialect/Arith/IR/Arith.h> <mlir/Dialect/Func/IR/FuncOps.h> <mlir/Dialect/Linalg/IR/Linalg.h>
  <mlir/Dialect/Math/IR/Math.h> <mlir/Dialect/MemRef/IR/MemRef.h> <mlir/Dialect/SCF/IR/SCF.h>
  <mlir/Dialect/Tensor/IR/Tensor.h> <mlir/Dialect/Vector/IR/VectorOps.h>
  <mlir/Dialect/LLVMIR/LLVMDialect.h> <mlir/Dialect/Bufferization/IR/Bufferization.h>
  <mlir/Transforms/Passes.h>)
