//===- SampleEmitter.cpp - The kernel of mega.sample -----------------------===//

#include "SampleEmitter.h"

#include "Philox.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using otodus::formats::SamplingWord;

namespace otodus {
namespace {

constexpr int64_t kWeightBits = 40;    ///< the likeliest token weighs 2^40
constexpr int64_t kFractionBits = 30;  ///< of exponents
constexpr int64_t kDigitBits = 4;      ///< of a key, found in one pass over the row
constexpr uint32_t kNanKey = 0xFFFFFFFFu, kInfinityKey = 0xFF800000u;
constexpr uint32_t kLowestKey = 0x007FFFFFu; ///< of -inf

/// (1 - 2^-f) / f on [0, 1], the polynomial of least error (2^-32.9): Σ (-1)^k c_k f^k, times 2^32.
constexpr uint32_t kExponential[] = {0xB17217F7u, 0x3D7F7BCBu, 0x0E358127u, 0x027641A9u,
                                     0x005728B0u, 0x0009C200u, 0x0000BDA6u};

Type like(Type element, Value v) {
  auto vector = dyn_cast<VectorType>(v.getType());
  return vector ? Type(vector.clone(element)) : element;
}

} // namespace

//===----------------------------------------------------------------------===//
// Small builders
//===----------------------------------------------------------------------===//

SampleEmitter::SampleEmitter(KernelEmitter &kernel, mega::SampleOp op, int64_t lanes)
    : kernel(kernel), b(kernel.b), loc(kernel.loc), lanes(lanes) {
  RankedTensorType type = op.getLogits().getType();
  vocabulary = type.getDimSize(2);
  rowStride = rowStrideOf(widthOf(type), dtypeOf(type));
  logits = kernel.operandParameter(op.getLogits());
  options = kernel.operandParameter(op.getOptions());
  position = kernel.operandParameter(op.getPosition());
  token = kernel.resultParameter(0, b.getI32Type());
}

Value SampleEmitter::index(int64_t v) { return arith::ConstantIndexOp::create(b, loc, v); }
Value SampleEmitter::i32(int64_t v) {
  return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(v)));
}
Value SampleEmitter::i64(int64_t v) {
  return arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(v));
}
Value SampleEmitter::spread(Value v) {
  if (lanes == 1)
    return v;
  return vector::BroadcastOp::create(b, loc, VectorType::get({lanes}, v.getType()), v);
}

/// `value` in the type of `v`, integer or f32.
Value SampleEmitter::constantLike(Value v, int64_t value) {
  Type element = getElementTypeOrSelf(v.getType());
  TypedAttr attr = element.isF32()
                       ? TypedAttr(b.getF32FloatAttr(float(value)))
                       : TypedAttr(IntegerAttr::get(
                             element, APInt(element.getIntOrFloatBitWidth(), uint64_t(value),
                                            /*isSigned=*/false, /*implicitTrunc=*/true)));
  if (auto vector = dyn_cast<VectorType>(v.getType()))
    attr = DenseElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(b, loc, attr);
}

Value SampleEmitter::add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
Value SampleEmitter::less(Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, x, y);
}
Value SampleEmitter::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, loc, condition, x, y);
}

SampleEmitter::Values SampleEmitter::loop(Value from, Value to, int64_t step, ValueRange carried,
                                          function_ref<Values(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(b, loc, from, to, index(step), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  Values next = body(op.getInductionVar(), op.getRegionIterArgs());
  if (!carried.empty()) // otherwise the loop has its terminator already
    scf::YieldOp::create(b, loc, next);
  return llvm::to_vector_of<Value>(op.getResults());
}

SampleEmitter::Values SampleEmitter::when(Value condition, ValueRange carried,
                                          function_ref<Values()> body) {
  auto op = scf::IfOp::create(b, loc, carried.getTypes(), condition, /*addThenBlock=*/true,
                              /*addElseBlock=*/!carried.empty());
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  Values next = body();
  scf::YieldOp::create(b, loc, next);
  if (!carried.empty()) {
    b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(b, loc, carried);
  }
  return llvm::to_vector_of<Value>(op.getResults());
}

Value SampleEmitter::loadBits(Value at, int64_t count) {
  at = add(rowStart, at);
  Type element = cast<MemRefType>(logits.getType()).getElementType(), f32 = b.getF32Type();
  Type bits = b.getI32Type();
  Value v;
  if (count == 1) {
    v = memref::LoadOp::create(b, loc, logits, ValueRange{at});
  } else {
    int64_t bytes = count * element.getIntOrFloatBitWidth() / 8;
    v = vector::LoadOp::create(b, loc, VectorType::get({count}, element), logits, ValueRange{at},
                               /*nontemporal=*/false,
                               llvm::MaybeAlign(std::min<int64_t>(16, bytes)));
  }
  if (element.isBF16())
    v = arith::ExtFOp::create(b, loc, like(f32, v), v);
  return arith::BitcastOp::create(b, loc, like(bits, v), v);
}

Value SampleEmitter::word(SamplingWord which, int64_t offset) {
  return memref::LoadOp::create(b, loc, options, ValueRange{index(int64_t(which) + offset)});
}

Value SampleEmitter::longWord(SamplingWord which) {
  Type type = b.getI64Type();
  Value low = arith::ExtUIOp::create(b, loc, type, word(which));
  Value high = arith::ExtUIOp::create(b, loc, type, word(which, 1));
  return arith::OrIOp::create(b, loc, low, arith::ShLIOp::create(b, loc, high, i64(32)));
}

Value SampleEmitter::flag(int64_t which) {
  Value bit = arith::AndIOp::create(b, loc, word(SamplingWord::Flags), i32(which));
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, bit, i32(0));
}

//===----------------------------------------------------------------------===//
// Keys and weights
//===----------------------------------------------------------------------===//

/// Larger for larger logits, the same for 0 and -0, the largest for NaN.
Value SampleEmitter::keyOf(Value bits) {
  auto constant = [&](uint32_t v) { return constantLike(bits, v); };
  Value magnitude = arith::AndIOp::create(b, loc, bits, constant(0x7FFFFFFFu));
  Value zero = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, magnitude, constant(0));
  Value sign = arith::ShRSIOp::create(b, loc, bits, constant(31));
  Value flipped = arith::OrIOp::create(b, loc, sign, constant(0x80000000u));
  Value key = arith::XOrIOp::create(b, loc, bits, flipped);
  key = select(zero, constant(0x80000000u), key);
  Value nan = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ugt, magnitude,
                                    constant(0x7F800000u));
  return select(nan, constant(kNanKey), key);
}

/// 2^40 exp((logit - top) / temperature) as an i64, rounded down; 0 if that is below `least`.
///
/// The exponent to base two is the product of two sums of two f32; from there on it is a fixed
/// point number n + f: 2^-n is a shift, 2^-f a polynomial. There is no addition of a product that
/// is not written as fma, so nothing is left for a target to contract.
Value SampleEmitter::weightOf(Value bits) {
  Type f32 = b.getF32Type(), word = b.getI32Type(), wide = b.getI64Type();
  Value l = arith::BitcastOp::create(b, loc, like(f32, bits), bits);
  auto same = [&](Value scalar) -> Value {
    if (scalar.getType() == getElementTypeOrSelf(l.getType()) && isa<VectorType>(l.getType()))
      return vector::BroadcastOp::create(b, loc, l.getType(), scalar);
    return scalar;
  };
  auto sub = [&](Value x, Value y) -> Value { return arith::SubFOp::create(b, loc, x, y); };
  auto fma = [&](Value x, Value y, Value z) -> Value {
    return math::FmaOp::create(b, loc, x, y, z);
  };
  Value t = same(top), high = same(scaleHigh), low = same(scaleLow);
  // distance + error = top - logit (Knuth's TwoSum).
  Value distance = sub(t, l), back = sub(distance, t);
  Value error = sub(sub(t, sub(distance, back)), arith::AddFOp::create(b, loc, l, back));
  Value product = arith::MulFOp::create(b, loc, distance, high);
  Value rest = fma(distance, high, arith::NegFOp::create(b, loc, product));
  rest = fma(distance, low, fma(error, high, rest));
  Value limit = constantLike(product, kWeightBits + 2);
  // False for infinite distances, whose error and rest are NaN.
  Value counts = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, product, limit);
  product = select(counts, product, limit);
  rest = select(counts, rest, constantLike(rest, 0));

  auto toInteger = [&](Value x) -> Value {
    return arith::FPToSIOp::create(b, loc, like(word, x), x);
  };
  auto fixed = [&](Value x) {
    Value unit = constantLike(x, int64_t(1) << kFractionBits);
    return toInteger(arith::MulFOp::create(b, loc, x, unit));
  };
  Value whole = toInteger(product);
  Value fraction = sub(product, arith::SIToFPOp::create(b, loc, like(f32, whole), whole));
  Value sum = add(fixed(fraction), fixed(rest));
  whole = add(whole, arith::ShRSIOp::create(b, loc, sum, constantLike(sum, kFractionBits)));
  // The fraction times 2^32.
  Value f = arith::ShLIOp::create(b, loc, sum, constantLike(sum, 32 - kFractionBits));

  Value p = constantLike(f, std::end(kExponential)[-1]);
  for (int64_t k = int64_t(std::size(kExponential)) - 2; k >= 0; --k) {
    auto next = arith::MulUIExtendedOp::create(b, loc, p, f);
    p = arith::SubIOp::create(b, loc, constantLike(f, kExponential[k]), next.getHigh());
  }
  auto widen = [&](Value x) -> Value {
    return arith::ExtUIOp::create(b, loc, like(wide, x), x);
  };
  Value less = arith::MulIOp::create(b, loc, widen(p), widen(f));
  less = arith::ShRUIOp::create(b, loc, less, constantLike(less, 64 - kWeightBits));
  Value weight =
      arith::SubIOp::create(b, loc, constantLike(less, int64_t(1) << kWeightBits), less);
  weight = arith::ShRUIOp::create(b, loc, weight, widen(whole));
  Value floor = isa<VectorType>(weight.getType())
                    ? Value(vector::BroadcastOp::create(b, loc, weight.getType(), least))
                    : least;
  Value kept = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, weight, floor);
  kept = arith::AndIOp::create(b, loc, kept, counts);
  return select(kept, weight, constantLike(weight, 0));
}

/// Bits 64 to 127 of the product of two unsigned i64.
Value SampleEmitter::highProduct(Value x, Value y) {
  auto low = [&](Value v) -> Value {
    return arith::AndIOp::create(b, loc, v, i64(0xFFFFFFFF));
  };
  auto high = [&](Value v) -> Value { return arith::ShRUIOp::create(b, loc, v, i64(32)); };
  auto mul = [&](Value p, Value q) -> Value { return arith::MulIOp::create(b, loc, p, q); };
  Value cross = mul(low(x), high(y)), other = mul(high(x), low(y));
  Value middle = add(high(mul(low(x), low(y))), add(low(cross), low(other)));
  return add(add(mul(high(x), high(y)), high(middle)), add(high(cross), high(other)));
}

/// 64 random bits for the row: words 0 and 1 of Philox (formats::uniform).
Value SampleEmitter::random(Value row) {
  Type word = b.getI32Type(), wide = b.getI64Type();
  auto low = [&](Value v) -> Value { return arith::TruncIOp::create(b, loc, word, v); };
  auto high = [&](Value v) -> Value {
    return low(arith::ShRUIOp::create(b, loc, v, i64(32)));
  };
  Value start = memref::LoadOp::create(b, loc, position, ValueRange{row});
  Value at = add(start, arith::IndexCastOp::create(b, loc, wide, kernel.frame.length));
  Value stream = arith::IndexCastOp::create(b, loc, wide, row);
  std::array<Value, 4> words =
      emitPhilox(b, loc, {low(at), high(at), low(stream), high(stream)},
                 {this->word(SamplingWord::Seed), this->word(SamplingWord::Seed, 1)});
  Value upper = arith::ShLIOp::create(b, loc, arith::ExtUIOp::create(b, loc, wide, words[1]),
                                      i64(32));
  return arith::OrIOp::create(b, loc, upper, arith::ExtUIOp::create(b, loc, wide, words[0]));
}

//===----------------------------------------------------------------------===//
// The choice
//===----------------------------------------------------------------------===//

Value SampleEmitter::choose(Value row) {
  rowStart = arith::MulIOp::create(b, loc, row, index(rowStride));
  // A key of 0 and an index after all others lose against every token.
  Value none = spread(i32(0)), last = spread(i32(vocabulary));
  Values best = each({none, last}, [&](Value bits, Value at, ValueRange carried) {
    Value key = keyOf(bits);
    Value better = less(carried[0], key);
    // Indices ascend within a lane, so the first of equals stays.
    return Values{select(better, key, carried[0]), select(better, at, carried[1])};
  });
  auto [topKey, greedy] = largest(best[0], best[1]);
  auto is = [&](uint32_t key) -> Value {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, topKey, i32(key));
  };
  Value infinite = arith::OrIOp::create(b, loc, is(kInfinityKey), is(kLowestKey));
  Value result = select(infinite, i32(formats::kSampledInfinite), greedy);
  result = select(is(kNanKey), i32(formats::kSampledNan), result);
  Value valid = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, result, i32(0));
  Value draws = arith::AndIOp::create(b, loc, valid, flag(formats::kSamplingDraws));
  return when(draws, {result}, [&] {
    // The logit of the key.
    Value bits = select(arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, topKey, i32(0)),
                        i32(0x80000000u), i32(0xFFFFFFFFu));
    bits = arith::XOrIOp::create(b, loc, topKey, bits);
    auto real = [&](Value v) -> Value {
      return arith::BitcastOp::create(b, loc, b.getF32Type(), v);
    };
    top = real(bits);
    scaleHigh = real(word(SamplingWord::Scale));
    scaleLow = real(word(SamplingWord::Scale, 1));
    least = longWord(SamplingWord::LeastWeight);
    return draw(row);
  })[0];
}

std::pair<Value, Value> SampleEmitter::search(Value most, Value counts) {
  constexpr int64_t kDigits = 1 << kDigitBits;
  Value countsLanes = spread(counts);
  // A digit of the key at a time, from the highest: keys below `base` or behind its digits are
  // decided already; `above` is the sum over the latter.
  Values found = loop(
      index(0), index(32), kDigitBits, {i32(0), i64(0)}, [&](Value done, ValueRange carried) {
        Value base = carried[0], above = carried[1];
        Value shift = arith::SubIOp::create(
            b, loc, i32(32 - kDigitBits), arith::IndexCastOp::create(b, loc, b.getI32Type(), done));
        Value baseLanes = spread(base), shiftLanes = spread(shift);
        Values zeros(kDigits, spread(i64(0)));
        Values sums = each(zeros, [&](Value bits, Value, ValueRange before) -> Values {
          Value key = keyOf(bits);
          Value digit = arith::ShRUIOp::create(
              b, loc, arith::SubIOp::create(b, loc, key, baseLanes), shiftLanes);
          Value open = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, key, baseLanes);
          open = arith::AndIOp::create(b, loc, open, less(digit, constantLike(digit, kDigits)));
          Value any = open;
          if (lanes > 1)
            any = vector::ReductionOp::create(b, loc, vector::CombiningKind::OR, open);
          return when(any, before, [&] {
            Value value = weightOf(bits);
            value = select(countsLanes, constantLike(value, 1), value);
            Value zero = constantLike(value, 0);
            value = select(open, value, zero);
            Values next;
            // Sum j is over digits above j; the last has none.
            for (int64_t j = 0; j < kDigits; ++j) {
              Value higher = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ugt, digit,
                                                   constantLike(digit, j));
              next.push_back(j + 1 == kDigits ? before[j]
                                              : add(before[j], select(higher, value, zero)));
            }
            return next;
          });
        });
        sums = sum(sums);
        Value chosen = i32(kDigits - 1), chosenSum = above;
        for (int64_t j = kDigits - 2; j >= 0; --j) {
          Value all = add(above, sums[j]);
          Value fits = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, all, most);
          chosen = select(fits, i32(j), chosen);
          chosenSum = select(fits, all, chosenSum);
        }
        return Values{add(base, arith::ShLIOp::create(b, loc, chosen, shift)), chosenSum};
      });
  return {found[0], found[1]};
}

SampleEmitter::Values SampleEmitter::draw(Value row) {
  Value zero = i64(0), all = i64(int64_t(1) << 62), topP = flag(formats::kSamplingTopP);
  auto truth = [&](bool v) -> Value {
    return arith::ConstantOp::create(b, loc, b.getBoolAttr(v));
  };
  Value counts = flag(formats::kSamplingTopK);
  // Top-p: a token goes if those before it weigh more than this.
  Value others = arith::ExtUIOp::create(b, loc, b.getI64Type(), word(SamplingWord::OthersKept));
  Value most = when(topP, {others}, [&] {
    Values total = each({spread(zero)}, [&](Value bits, Value, ValueRange carried) {
      return Values{add(carried[0], weightOf(bits))};
    });
    return Values{highProduct(longWord(SamplingWord::Probability), sum(total)[0])};
  })[0];
  Value filters = arith::OrIOp::create(b, loc, topP, counts);
  // Keys above `lowest` stay; of those that equal it (`ties`), the first `kept` do.
  Values limit = when(filters, {i32(0), zero}, [&] {
    auto [key, above] = search(most, counts);
    return Values{key, above};
  });
  Value lowest = limit[0];
  Value lowestBits = arith::XOrIOp::create(
      b, loc, lowest,
      select(arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, lowest, i32(0)),
             i32(0x80000000u), i32(0xFFFFFFFFu)));
  Value tie = weightOf(lowestBits);
  Value weighs = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, tie, zero);
  Value divisor = select(weighs, tie, i64(1));
  Value kept = add(arith::DivUIOp::create(b, loc, arith::SubIOp::create(b, loc, most, limit[1]),
                                          divisor),
                   i64(1));
  kept = select(arith::AndIOp::create(b, loc, topP, weighs), kept, all);

  // What a token adds to (weight above, ties).
  auto count = [&](Value bits, ValueRange carried) {
    Value key = keyOf(bits), low = lowest;
    if (isa<VectorType>(key.getType()))
      low = spread(lowest);
    Value weight = weightOf(bits), none = constantLike(weight, 0);
    Value above = less(low, key);
    Value equal = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, low, key);
    return Values{add(carried[0], select(above, weight, none)),
                  add(carried[1], select(equal, constantLike(weight, 1), none))};
  };
  // Weight of so many ties when there were others before.
  auto tieWeight = [&](Value ties, Value before) -> Value {
    Value left = arith::MaxSIOp::create(b, loc, arith::SubIOp::create(b, loc, kept, before), zero);
    return arith::MulIOp::create(b, loc, tie, arith::MinUIOp::create(b, loc, ties, left));
  };
  Values lanesOfZero{spread(zero), spread(zero)};
  Values pieces = sumPieces(lanesOfZero, [&](Value bits, Value, ValueRange carried) {
    return count(bits, carried);
  });
  auto load = [&](Value memory, Value at) -> Value {
    return memref::LoadOp::create(b, loc, memory, ValueRange{at});
  };
  Values total = loop(index(0), index(pieceCount), 1, {zero, zero},
                      [&](Value i, ValueRange carried) {
                        return Values{add(carried[0], load(pieces[0], i)),
                                      add(carried[1], load(pieces[1], i))};
                      });
  Value sumOfAll = add(total[0], tieWeight(total[1], zero));
  Value point = highProduct(random(row), sumOfAll);

  // The first of `number` places whose prefix sum is above the point: carried are the sums up to
  // here, and what they were in front of it.
  auto find = [&](Value number, Place from, function_ref<std::pair<Value, Value>(Value)> at) {
    Values result = loop(
        index(0), number, 1, {from.sum, from.ties, from.sum, from.ties, index(0), truth(false)},
        [&](Value i, ValueRange carried) {
          auto [weight, ties] = at(i);
          Value sum = add(carried[0], add(weight, tieWeight(ties, carried[1])));
          Value beyond = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ugt, sum, point);
          Value known = carried[5];
          Value hit = arith::AndIOp::create(
              b, loc, beyond, arith::XOrIOp::create(b, loc, known, truth(true)));
          return Values{sum,
                        add(carried[1], ties),
                        select(hit, carried[0], carried[2]),
                        select(hit, carried[1], carried[3]),
                        select(hit, i, carried[4]),
                        arith::OrIOp::create(b, loc, known, beyond)};
        });
    return Place{result[4], result[2], result[3]};
  };
  Place place = find(index(pieceCount), {index(0), zero, zero}, [&](Value i) {
    return std::pair(load(pieces[0], i), load(pieces[1], i));
  });
  Value from = arith::MulIOp::create(b, loc, place.number, index(pieceLength));
  int64_t length = pieceLength;
  auto alone = [&](Value at, ValueRange carried) { return count(loadBits(at, 1), carried); };
  if (partCount) {
    Values parts = sumParts(from, alone);
    place = find(index(partCount), place, [&](Value i) {
      return std::pair(load(parts[0], i), load(parts[1], i));
    });
    from = add(from, arith::MulIOp::create(b, loc, place.number, index(partLength)));
    length = partLength;
  }
  Value rest = arith::MinUIOp::create(b, loc, index(length),
                                      arith::SubIOp::create(b, loc, index(vocabulary), from));
  place = find(rest, place, [&](Value i) {
    Values own = alone(add(from, i), {zero, zero});
    return std::pair(own[0], own[1]);
  });
  return {arith::IndexCastOp::create(b, loc, b.getI32Type(), add(from, place.number))};
}

} // namespace otodus
