//===- NvvmToSim.cpp - NVVM kernels to host code for the simulator ---------===//
//
//   llvm.func @k(%p: !llvm.ptr<1>) attributes {nvvm.kernel} {
//     %x = nvvm.read.ptx.sreg.tid.x : i32
//     nvvm.barrier0
//   }
//   ==>
//   llvm.func internal @k.thread(%context: !llvm.ptr, %p: !llvm.ptr<1>) {
//     %x = llvm.load (%context + offset of tid[0])
//     %handler = llvm.load (handlers of %context)[row of nvvm.barrier0]
//     llvm.call %handler(%context, site 0, slots, null)
//   }
//   llvm.func @k(%context, %params) -> !llvm.ptr    // one thread; returns the kernel's record
//
// Attributes that promise something about memory (noalias, scopes, invariant loads) are dropped:
// they hold between two accesses of one thread, but here a handler in between runs all others.
//
//===----------------------------------------------------------------------===//

#include "NarrowFloats.h"
#include "SimSites.h"

#include "otodus/Codegen/Sim/Passes.h"

#include "gk/IR/WgmmaUse.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"

#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/Support/MathExtras.h"

#include <map>

namespace otodus {
#define GEN_PASS_DEF_NVVMTOSIM
#include "otodus/Codegen/Sim/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

/// Records of functions that call each other. Kernels without common functions have records of
/// their own, so that host code can be generated for each of them by itself.
struct Component {
  std::string name; ///< of the constant
  SimRecords records;
  /// Addresses of records; their offsets depend on how many there are, known at the end.
  SmallVector<std::pair<Operation *, uint32_t>> sites, kernels;
};

/// Ops of the llvm dialect that the host's code generator turns into instructions.
bool isHostInstruction(Operation *op) {
  if (isa<LLVM::CallIntrinsicOp, LLVM::InlineAsmOp, LLVM::InvokeOp, LLVM::VaArgOp,
          LLVM::LandingpadOp, LLVM::ResumeOp, LLVM::FRemOp>(op))
    return false;
  if (!op->getName().getStringRef().starts_with("llvm.intr."))
    return true;
  return isa<LLVM::AbsOp, LLVM::BitReverseOp, LLVM::ByteSwapOp, LLVM::CopySignOp,
             LLVM::CountLeadingZerosOp, LLVM::CountTrailingZerosOp, LLVM::CtPopOp, LLVM::FAbsOp,
             LLVM::FCeilOp, LLVM::FFloorOp, LLVM::FMAOp, LLVM::FMulAddOp, LLVM::FTruncOp,
             LLVM::FshlOp, LLVM::FshrOp, LLVM::LifetimeEndOp, LLVM::LifetimeStartOp,
             LLVM::MaxNumOp, LLVM::MaximumOp, LLVM::MinNumOp, LLVM::MinimumOp, LLVM::NearbyintOp,
             LLVM::RintOp, LLVM::RoundEvenOp, LLVM::SMaxOp, LLVM::SMinOp, LLVM::SqrtOp,
             LLVM::UMaxOp, LLVM::UMinOp, LLVM::vector_extract, LLVM::vector_insert,
             LLVM::vector_reduce_add, LLVM::vector_reduce_and, LLVM::vector_reduce_fadd,
             LLVM::vector_reduce_fmax, LLVM::vector_reduce_fmaximum, LLVM::vector_reduce_fmin,
             LLVM::vector_reduce_fminimum, LLVM::vector_reduce_fmul, LLVM::vector_reduce_mul,
             LLVM::vector_reduce_or, LLVM::vector_reduce_smax, LLVM::vector_reduce_smin,
             LLVM::vector_reduce_umax, LLVM::vector_reduce_umin, LLVM::vector_reduce_xor,
             LLVM::StackSaveOp, LLVM::StackRestoreOp>(op);
}

/// What is known of shared memory before functions are rewritten.
struct SharedLayout {
  llvm::StringMap<int64_t> offsets;
  int64_t staticBytes = 0, align = 16;
};

/// Rewrites the body of one function. Its first argument is the context.
class FunctionRewriter {
public:
  FunctionRewriter(LLVM::LLVMFuncOp function, const SharedLayout &shared, Component &component)
      : function_(function), context_(function.getArgument(0)), shared_(shared),
        component_(component), layout_(DataLayout::closest(function)), b_(function.getContext()) {}

  LogicalResult run() {
    expandNarrowFloats(function_);
    // Shared memory's names first: an access through them must not be taken for one to a constant.
    SmallVector<Operation *> ops;
    function_.walk([&](LLVM::AddressOfOp op) { ops.push_back(op); });
    function_.walk([&](Operation *op) {
      if (op != function_ && !isa<LLVM::AddressOfOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      b_.setInsertionPoint(op);
      loc_ = op->getLoc();
      if (failed(rewrite(op)))
        return failure();
    }
    pollLoops();
    return success();
  }

private:
  Type ptr() { return LLVM::LLVMPointerType::get(b_.getContext()); }
  Value integer(int64_t value, unsigned bits = 64) {
    return LLVM::ConstantOp::create(b_, loc_, b_.getIntegerType(bits), value);
  }
  Value field(Value base, int64_t offset) {
    return LLVM::GEPOp::create(b_, loc_, ptr(), b_.getI8Type(), base,
                               ArrayRef<LLVM::GEPArg>{int32_t(offset)});
  }
  /// A field of the context; it never changes while the thread runs.
  Value contextField(int64_t offset, Type type) {
    return LLVM::LoadOp::create(b_, loc_, type, field(context_, offset), 0, false, false, true);
  }
  /// Address of the record of `op`; the offset is filled in when all records are known.
  FailureOr<Value> site(Operation *op, const SimRow &row) {
    std::optional<uint32_t> number = component_.records.addSite(op, row);
    if (!number)
      return failure();
    Value base = LLVM::AddressOfOp::create(b_, loc_, ptr(), component_.name);
    Value address = field(base, 0);
    component_.sites.push_back({address.getDefiningOp(), *number});
    return address;
  }

  LogicalResult rewrite(Operation *op) {
    if (auto address = dyn_cast<LLVM::AddressOfOp>(op)) {
      auto found = shared_.offsets.find(address.getGlobalName());
      if (found != shared_.offsets.end())
        replace(op, toPointer(LLVM::AddOp::create(b_, loc_, sharedBase(), integer(found->second)),
                              address.getType()));
      return success();
    }
    if (int64_t offset = simRegisterOffset(op); offset >= 0) {
      replace(op, contextField(offset, op->getResult(0).getType()));
      return success();
    }
    if (auto call = dyn_cast<LLVM::CallOp>(op))
      return rewriteCall(call);
    const SimRow *row = findSimRow(op);
    if (!row) {
      if (op->getName().getDialectNamespace() == "llvm" && isHostInstruction(op))
        return success();
      if (auto call = dyn_cast<LLVM::CallIntrinsicOp>(op))
        return op->emitError() << "the simulator does not know the intrinsic '" << call.getIntrin()
                               << "': give it a row in include/otodus/ABI/SimOps.def";
      return op->emitOpError() << "is not known to the simulator: give it a row in "
                                  "include/otodus/ABI/SimOps.def";
    }
    switch (row->who) {
    case SimWho::Inline:
      if (auto load = dyn_cast<LLVM::LoadOp>(op))
        return announce(op, *row, load.getAddr(), load.getType(), load.getAlignment(),
                        offsetof(OtodusSimContext, load));
      if (auto store = dyn_cast<LLVM::StoreOp>(op))
        return announce(op, *row, store.getAddr(), store.getValue().getType(),
                        store.getAlignment(), offsetof(OtodusSimContext, store));
      return op->emitOpError("has an inline row that the pass does not know");
    case SimWho::Nothing:
      if (op->getNumResults())
        return op->emitOpError("has a result, so it cannot do nothing in the simulator");
      op->erase();
      return success();
    default:
      return callHandler(op, *row);
    }
  }

  void replace(Operation *op, Value value) {
    op->getResult(0).replaceAllUsesWith(value);
    op->erase();
  }

  Value sharedBase() {
    return contextField(offsetof(OtodusSimContext, shared), b_.getI64Type());
  }
  Value toPointer(Value address, Type type) {
    return LLVM::IntToPtrOp::create(b_, loc_, type, address);
  }

  LogicalResult rewriteCall(LLVM::CallOp call) {
    auto callee = call.getCallee();
    auto module = function_->getParentOfType<ModuleOp>();
    auto target = callee ? module.lookupSymbol<LLVM::LLVMFuncOp>(*callee) : LLVM::LLVMFuncOp();
    if (!target || target.isExternal())
      return call.emitOpError("calls ")
             << (callee ? "'" + callee->str() + "', which is not part of the module"
                        : std::string("a function pointer"));
    SmallVector<Value> operands{context_};
    llvm::append_range(operands, call.getCalleeOperands());
    auto fresh = LLVM::CallOp::create(b_, loc_, target, operands);
    call->replaceAllUsesWith(fresh->getResults());
    call->erase();
    return success();
  }

  /// Whether `address` points into the thread's own stack or the module's constants, as far as
  /// one can see.
  static bool isPrivate(Value address) {
    while (auto gep = address.getDefiningOp<LLVM::GEPOp>())
      address = gep.getBase();
    return address.getDefiningOp<LLVM::AllocaOp>() || address.getDefiningOp<LLVM::AddressOfOp>();
  }

  LogicalResult announce(Operation *op, const SimRow &row, Value address, Type type,
                         std::optional<uint64_t> alignment, int64_t callback) {
    for (StringRef promise :
         {"alias_scopes", "noalias_scopes", "tbaa", "access_groups", "invariant", "invariantGroup"})
      op->removeAttr(promise);
    if (isPrivate(address))
      return success();
    uint64_t bytes = layout_.getTypeSize(type);
    uint64_t align = alignment.value_or(0) ? *alignment : layout_.getTypeABIAlignment(type);
    FailureOr<Value> record = site(op, row);
    if (failed(record))
      return failure();
    Value function = contextField(callback, ptr());
    Value number = LLVM::PtrToIntOp::create(b_, loc_, b_.getI64Type(), address);
    // Wider vectors are several accesses of at most 16 bytes.
    call(function, {ptr(), ptr(), b_.getI64Type(), b_.getI32Type(), b_.getI32Type()},
         {context_, *record, number, integer(int64_t(bytes), 32),
          integer(int64_t(std::min<uint64_t>(align, 16)), 32)});
    return success();
  }

  void call(Value function, ArrayRef<Type> types, ValueRange operands) {
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b_.getContext()), types);
    SmallVector<Value> all{function};
    llvm::append_range(all, operands);
    LLVM::CallOp::create(b_, loc_, type, all);
  }

  /// Memory on the thread's stack that all calls of the function share: a call at a time.
  Value scratch(Value &place, uint64_t &size, uint64_t needed) {
    OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPointToStart(&function_.getBody().front());
    if (!place) {
      size = 0;
      Value one = integer(1);
      place = LLVM::AllocaOp::create(b_, loc_, ptr(), b_.getI8Type(), one, 64);
    }
    if (needed > size) {
      size = llvm::alignTo(needed, 64);
      auto alloca = place.getDefiningOp<LLVM::AllocaOp>();
      alloca.setElemType(LLVM::LLVMArrayType::get(b_.getI8Type(), size));
    }
    return place;
  }

  LogicalResult callHandler(Operation *op, const SimRow &row) {
    FailureOr<Value> record = site(op, row);
    if (failed(record))
      return failure();
    Type i64 = b_.getI64Type();
    Value slots = scratch(slots_, slotBytes_, 8 * std::max(1u, op->getNumOperands()));
    uint64_t copied = 0;
    for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
      Value value = operand;
      Type type = value.getType();
      if (auto vector = dyn_cast<VectorType>(type);
          vector && vector.getElementType().isInteger(1)) {
        type = VectorType::get(vector.getShape(), b_.getI8Type());
        value = LLVM::ZExtOp::create(b_, loc_, type, value);
      }
      uint64_t bytes = layout_.getTypeSize(type);
      if (isa<LLVM::LLVMPointerType>(type)) {
        value = LLVM::PtrToIntOp::create(b_, loc_, i64, value);
      } else if (isa<IntegerType, FloatType, VectorType>(type) && bytes <= 8) {
        if (!isa<IntegerType>(type))
          value = LLVM::BitcastOp::create(b_, loc_, b_.getIntegerType(8 * bytes), value);
        if (value.getType() != i64)
          value = LLVM::ZExtOp::create(b_, loc_, i64, value);
      } else {
        copied = llvm::alignTo(copied, 32);
        Value base = scratch(copies_, copyBytes_, copied + bytes);
        Value place = field(base, int64_t(copied));
        LLVM::StoreOp::create(b_, loc_, value, place, 8);
        value = LLVM::PtrToIntOp::create(b_, loc_, i64, place);
        copied += bytes;
      }
      LLVM::StoreOp::create(b_, loc_, value, field(slots, int64_t(8 * i)));
    }
    Value result;
    if (op->getNumResults())
      result = scratch(result_, resultBytes_, layout_.getTypeSize(op->getResult(0).getType()));
    else
      result = LLVM::ZeroOp::create(b_, loc_, ptr());
    Value table = contextField(offsetof(OtodusSimContext, handlers), ptr());
    Value function = LLVM::LoadOp::create(b_, loc_, ptr(), field(table, 8 * int64_t(row.op)), 0,
                                          false, false, true);
    call(function, {ptr(), ptr(), ptr(), ptr()}, {context_, *record, slots, result});
    if (op->getNumResults()) {
      Type type = op->getResult(0).getType();
      Value value;
      if (type.isInteger(1))
        value = LLVM::TruncOp::create(b_, loc_, type,
                                      LLVM::LoadOp::create(b_, loc_, b_.getI8Type(), result));
      else
        value = LLVM::LoadOp::create(b_, loc_, type, result, 8);
      op->getResult(0).replaceAllUsesWith(value);
    }
    op->erase();
    return success();
  }

  /// Backward branches tell the scheduler, so that a thread that waits in a loop lets others run.
  void pollLoops() {
    llvm::DenseMap<Block *, unsigned> order;
    for (auto [i, block] : llvm::enumerate(function_.getBody()))
      order[&block] = i;
    for (Block &block : function_.getBody()) {
      Operation *end = block.getTerminator();
      if (llvm::none_of(end->getSuccessors(),
                        [&](Block *to) { return order[to] <= order[&block]; }))
        continue;
      b_.setInsertionPoint(end);
      loc_ = end->getLoc();
      call(contextField(offsetof(OtodusSimContext, poll), ptr()), {ptr()}, {context_});
    }
  }

  LLVM::LLVMFuncOp function_;
  Value context_;
  const SharedLayout &shared_;
  Component &component_;
  DataLayout layout_;
  OpBuilder b_;
  Location loc_ = UnknownLoc::get(function_.getContext());
  Value slots_, copies_, result_;
  uint64_t slotBytes_ = 0, copyBytes_ = 0, resultBytes_ = 0;
};

struct NvvmToSim : impl::NvvmToSimBase<NvvmToSim> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    // A use before the wait would be right here and wrong on a device.
    if (failed(gk::verifyWgmmaUse(module)))
      return signalPassFailure();
    SharedLayout shared;
    for (StringRef attribute : {"llvm.data_layout", "llvm.target_triple", "dlti.dl_spec",
                                "dlti.target_system_spec"})
      module->removeAttr(attribute);
    if (failed(layOutShared(module, shared)))
      return signalPassFailure();

    SmallVector<LLVM::LLVMFuncOp> functions;
    for (Operation &op : llvm::make_early_inc_range(*module.getBody())) {
      if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op)) {
        if (function.isExternal()) {
          if (!SymbolTable::symbolKnownUseEmpty(function, module)) {
            function.emitOpError("is called, but it is not part of the module");
            return signalPassFailure();
          }
          function.erase();
        } else {
          functions.push_back(function);
        }
      } else if (!isa<LLVM::GlobalOp>(op)) {
        op.emitOpError("is not expected in a module of the NVVM stage: expected functions and "
                       "globals of the llvm dialect");
        return signalPassFailure();
      }
    }
    std::map<Operation *, Component *> componentOf;
    std::vector<std::unique_ptr<Component>> components = connect(functions, module, componentOf);
    SmallVector<std::pair<LLVM::LLVMFuncOp, Component *>> bodies;
    for (LLVM::LLVMFuncOp function : functions) {
      Component &component = *componentOf[function];
      bodies.push_back({takeBody(function, shared, component), &component});
    }
    for (auto [body, component] : bodies)
      if (failed(FunctionRewriter(body, shared, *component).run()))
        return signalPassFailure();
    storeBf16AsIntegers(module);

    OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
    auto setOffset = [](Operation *op, int64_t offset) {
      cast<LLVM::GEPOp>(op).setRawConstantIndices({int32_t(offset)});
    };
    for (const auto &component : components) {
      for (auto [op, number] : component->sites)
        setOffset(op, component->records.siteOffset(number));
      for (auto [op, number] : component->kernels)
        setOffset(op, component->records.kernelOffset(number));
      std::vector<uint8_t> bytes = component->records.bytes();
      auto type = LLVM::LLVMArrayType::get(b.getI8Type(), bytes.size());
      auto data = StringRef(reinterpret_cast<const char *>(bytes.data()), bytes.size());
      LLVM::GlobalOp::create(b, module.getLoc(), type, true, LLVM::Linkage::Internal,
                             component->name, b.getStringAttr(data), 16);
    }
  }

  /// Functions that call each other, directly or not, in the order of the module.
  static std::vector<std::unique_ptr<Component>>
  connect(ArrayRef<LLVM::LLVMFuncOp> functions, ModuleOp module,
          std::map<Operation *, Component *> &componentOf) {
    llvm::EquivalenceClasses<Operation *> classes;
    for (LLVM::LLVMFuncOp function : functions) {
      classes.insert(function);
      function.walk([&, function](LLVM::CallOp call) {
        if (auto callee = call.getCallee())
          if (auto target = module.lookupSymbol<LLVM::LLVMFuncOp>(*callee))
            classes.unionSets(function, target);
      });
    }
    std::vector<std::unique_ptr<Component>> components;
    std::map<Operation *, Component *> byLeader;
    for (LLVM::LLVMFuncOp function : functions) {
      Component *&component = byLeader[classes.getLeaderValue(function)];
      if (!component) {
        components.push_back(std::make_unique<Component>());
        component = components.back().get();
        component->name = (function.getSymName() + ".records").str();
      }
      componentOf[function] = component;
    }
    return components;
  }

  /// Gives shared memory's names offsets and removes them.
  static LogicalResult layOutShared(ModuleOp module, SharedLayout &shared) {
    SmallVector<LLVM::GlobalOp> fixed, dynamic;
    DataLayout layout(module);
    for (auto global : module.getOps<LLVM::GlobalOp>()) {
      if (global.getAddrSpace() != 3) {
        if (!global.getConstant())
          return global.emitOpError("is a variable in global memory, which the simulator does not "
                                    "have: pass a buffer");
        continue;
      }
      auto array = dyn_cast<LLVM::LLVMArrayType>(global.getType());
      (array && array.getNumElements() == 0 ? dynamic : fixed).push_back(global);
    }
    auto alignOf = [&](LLVM::GlobalOp global) {
      int64_t align = std::max<int64_t>(16, int64_t(global.getAlignment().value_or(0)));
      shared.align = std::max(shared.align, align);
      return align;
    };
    for (LLVM::GlobalOp global : fixed) {
      shared.staticBytes = llvm::alignTo(shared.staticBytes, alignOf(global));
      shared.offsets[global.getSymName()] = shared.staticBytes;
      shared.staticBytes += layout.getTypeSize(global.getType());
    }
    for (LLVM::GlobalOp global : dynamic)
      alignOf(global);
    if (!dynamic.empty())
      shared.staticBytes = llvm::alignTo(shared.staticBytes, shared.align);
    for (LLVM::GlobalOp global : dynamic)
      shared.offsets[global.getSymName()] = shared.staticBytes;
    for (LLVM::GlobalOp global : llvm::concat<LLVM::GlobalOp>(fixed, dynamic))
      global.erase();
    return success();
  }

  /// Moves the body of `function` into one that takes the context first; of a kernel makes the
  /// entry too.
  static LLVM::LLVMFuncOp takeBody(LLVM::LLVMFuncOp function, const SharedLayout &shared,
                                   Component &component) {
    OpBuilder b(function);
    Location loc = function.getLoc();
    Type ptr = LLVM::LLVMPointerType::get(b.getContext());
    bool isKernel = function->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName());
    std::string name = function.getSymName().str();
    LLVM::LLVMFunctionType old = function.getFunctionType();
    SmallVector<Type> types{ptr};
    llvm::append_range(types, old.getParams());
    auto type = LLVM::LLVMFunctionType::get(old.getReturnType(), types);
    auto body = LLVM::LLVMFuncOp::create(b, loc, isKernel ? name + ".thread" : name, type,
                                         LLVM::Linkage::Internal);
    body.getBody().takeBody(function.getBody());
    body.getBody().insertArgument(0u, ptr, loc);
    if (isKernel)
      makeEntry(b, loc, function, body, shared, component);
    function.erase();
    if (isKernel)
      body->getNextNode()->moveAfter(body);
    return body;
  }

  static void makeEntry(OpBuilder &b, Location loc, LLVM::LLVMFuncOp function,
                        LLVM::LLVMFuncOp body, const SharedLayout &shared, Component &component) {
    OtodusSimKernelInfo info = {};
    info.staticShared = uint32_t(shared.staticBytes);
    info.sharedAlign = uint32_t(shared.align);
    auto sizes = [&](StringRef attribute, uint32_t *to) {
      if (auto given = function->getAttrOfType<DenseI32ArrayAttr>(attribute)) {
        for (int i = 0; i < 3; ++i)
          to[i] = i < given.size() ? uint32_t(given[i]) : 1;
      }
    };
    sizes(NVVM::NVVMDialect::getReqntidAttrName(), info.threads);
    sizes(NVVM::NVVMDialect::getClusterDimAttrName(), info.clusters);
    unsigned parameters = function.getNumArguments();
    info.parameters = parameters;
    std::string name = function.getSymName().str();
    uint32_t number = component.records.addKernel(info, name);

    Type ptr = LLVM::LLVMPointerType::get(b.getContext());
    auto type = LLVM::LLVMFunctionType::get(ptr, {ptr, ptr});
    function.setSymName(name + ".old");
    auto entry = LLVM::LLVMFuncOp::create(b, loc, name, type);
    OpBuilder::InsertionGuard guard(b);
    Block *first = entry.addEntryBlock(b);
    Region &region = entry.getBody();
    Block *run = b.createBlock(&region), *done = b.createBlock(&region);
    b.setInsertionPointToEnd(first);
    Value context = entry.getArgument(0), params = entry.getArgument(1);
    Value null = LLVM::ZeroOp::create(b, loc, ptr);
    Value asks = LLVM::ICmpOp::create(b, loc, LLVM::ICmpPredicate::eq, context, null);
    LLVM::CondBrOp::create(b, loc, asks, done, run);

    b.setInsertionPointToEnd(run);
    SmallVector<Value> operands{context};
    for (unsigned i = 0; i < parameters; ++i) {
      Value slot = LLVM::LoadOp::create(
          b, loc, ptr,
          LLVM::GEPOp::create(b, loc, ptr, ptr, params, ArrayRef<LLVM::GEPArg>{int32_t(i)}));
      Type parameter = body.getArgumentTypes()[i + 1];
      // The bytes of a byval parameter lie in the launch's own memory.
      bool byValue = function.getArgAttr(i, LLVM::LLVMDialect::getByValAttrName()) != Attribute();
      operands.push_back(byValue ? slot
                                 : LLVM::LoadOp::create(b, loc, parameter, slot).getResult());
    }
    LLVM::CallOp::create(b, loc, body, operands);
    LLVM::BrOp::create(b, loc, done);

    b.setInsertionPointToEnd(done);
    Value base = LLVM::AddressOfOp::create(b, loc, ptr, component.name);
    Value record = LLVM::GEPOp::create(b, loc, ptr, b.getI8Type(), base,
                                       ArrayRef<LLVM::GEPArg>{0});
    component.kernels.push_back({record.getDefiningOp(), number});
    LLVM::ReturnOp::create(b, loc, record);
  }
};

} // namespace
} // namespace otodus
