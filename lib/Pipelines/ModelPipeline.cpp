//===- ModelPipeline.cpp - Passes of others, before the fused stage --------===//

#include "ModelPipeline.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>
#include <mutex>

using namespace mlir;

namespace otodus {

Status loadPlugins(const std::vector<std::string> &files) {
  static std::mutex mutex;
  static llvm::StringSet<> loaded;
  std::lock_guard<std::mutex> lock(mutex);
  for (const std::string &file : files) {
    std::string flag = "--load-pass-plugin=" + file;
    // The loader looks for a name without a slash in the system's folders.
    llvm::SmallString<128> path(file);
    if (!llvm::sys::fs::exists(path) || llvm::sys::fs::make_absolute(path))
      return Status(Code::File, flag + ": no such file; expected a shared library of passes");
    if (loaded.contains(path))
      continue;
    llvm::Expected<PassPlugin> plugin = PassPlugin::load(path.str().str());
    if (!plugin)
      return Status(Code::Target,
                    flag + ": " + llvm::StringRef(llvm::toString(plugin.takeError())).rtrim().str() +
                        "; build it against this otodus, as docs/Guides/WriteAFusionPass.md shows");
    // MLIR knows no other answer to a pass whose name is taken.
    llvm::ScopedFatalErrorHandler handler(
        [](void *data, const char *reason, bool) {
          llvm::errs() << "otodus: " << *static_cast<std::string *>(data) << ": " << reason << "\n";
          std::_Exit(static_cast<int>(Code::Target));
        },
        &flag);
    plugin->registerPassRegistryCallbacks();
    loaded.insert(path);
  }
  return Status::ok();
}

Status parseModelPipeline(const std::string &text, OpPassManager &pm) {
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  FailureOr<OpPassManager> parsed = parsePassPipeline(text, stream);
  if (failed(parsed)) {
    // MLIR repeats the text with a mark below it, and counts columns from inside the brackets:
    // only the lines that say something are kept.
    std::string message;
    for (StringRef line : llvm::split(errors, '\n')) {
      size_t at = line.find("error: ");
      if (at == StringRef::npos && !line.starts_with("<") && !line.starts_with("expected"))
        continue;
      message += message.empty() ? "" : "; ";
      message += at == StringRef::npos ? line : line.drop_front(at + 7);
    }
    if (message.empty())
      message = "expected builtin.module(PASS,...)";
    return Status(Code::Usage, "--pass-pipeline=" + text + ": " + message);
  }
  if (parsed->getOpAnchorName() != ModuleOp::getOperationName())
    return Status(Code::Usage, "--pass-pipeline expects builtin.module(PASS,...), but got '" +
                                   text + "'; passes on functions are written "
                                   "builtin.module(func.func(PASS,...))");
  pm = std::move(*parsed);
  return Status::ok();
}

} // namespace otodus
