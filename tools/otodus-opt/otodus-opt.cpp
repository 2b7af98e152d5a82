//===- otodus-opt.cpp - Runs passes on a module ----------------------------===//

#include "otodus/Pipelines/Compiler.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  otodus::registerAll(registry);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "otodus optimizer driver\n", registry));
}
