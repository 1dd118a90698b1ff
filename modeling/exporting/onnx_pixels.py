"""A front for an exported model: pictures of any size are resized as Pillow does it. Needs the extra `onnx`.

The runtimes of browsers and phones shrink a picture without averaging, and the model then answers about another face.
So the resize is a part of the graph: matrix products, first along the rows, with the weights of Pillow's bilinear
filter, rounded to 22 bits as Pillow rounds them, and a result of whole numbers after each. ONNX has an operator for
it, Resize with antialias, but in ONNX Runtime 1.32 that is up to 20 of 255 levels away for uint8.

The pixels are Pillow's own, to the bit, and without float64, which ONNX Runtime for browsers has not. The weights are
whole numbers of int64: of a side of `length` pixels that becomes one of `size`, that of place x for result i is

    max(0, 2 max(length, size) - |(2x + 1) size - (2i + 1) length|)

over their sum. Cut into 8, 7 and 7 bits, their products with pixels are whole numbers below 2^24 for pictures of up to
some 500 times the size, so that sums of float32 are exact in any order; what each part carries is added up after.
Pictures over 100 times as tall as wide are resized by Pillow in another order: there a level may differ by one.
"""

import onnx
from onnx import TensorProto, compose, helper, parser

_FRONT = """
<ir_version: 10, opset_import: ["" : {opset}]>
front (uint8[batch, height, width, channels] pixels) => (float[batch, 3, {size}, {size}] pixel_values)
<int64 size = {{{size}}}, int64[{size}, 1] odd = {{{odd}}}, int64 zero = {{0}}, int64 one = {{1}}, int64 two = {{2}},
 int64 whole = {{8388608}}, int64 seven = {{128}}, int64[1] from = {{0}}, int64[1] to = {{3}}, int64[1] last = {{3}},
 int64[1] across = {{1}}, float bits = {{128}}, float half = {{128}}, float byte = {{256}}, float scale = {{127.5}},
 float shift = {{1}}>
{{
    colours = Slice(pixels, from, to, last)
    planes = Transpose<perm = [0, 3, 1, 2]>(colours)
    values = Cast<to = {float}>(planes)
    {width}
    width_high_turned = Transpose<perm = [1, 0]>(width_high)
    width_middle_turned = Transpose<perm = [1, 0]>(width_middle)
    width_low_turned = Transpose<perm = [1, 0]>(width_low)
    rows_high = MatMul(values, width_high_turned)
    rows_middle = MatMul(values, width_middle_turned)
    rows_low = MatMul(values, width_low_turned)
    {rows}
    {height}
    columns_high = MatMul(height_high, rows)
    columns_middle = MatMul(height_middle, rows)
    columns_low = MatMul(height_low, rows)
    {columns}
    scaled = Div(columns, scale)
    pixel_values = Sub(scaled, shift)
}}
"""

# The weights of Pillow's bilinear filter for one side, (size, length), in three parts.
_WEIGHTS = """
    {side}_shape = Shape<start = {axis}, end = {end}>(pixels)
    {side}_length = Squeeze({side}_shape)
    {side}_longer = Max({side}_length, size)
    {side}_reach = Mul({side}_longer, two)
    {side}_numbers = Range(zero, {side}_length, one)
    {side}_even = Mul({side}_numbers, two)
    {side}_odd = Add({side}_even, one)
    {side}_places = Mul({side}_odd, size)
    {side}_centres = Mul(odd, {side}_length)
    {side}_apart = Sub({side}_places, {side}_centres)
    {side}_away = Abs({side}_apart)
    {side}_rest = Sub({side}_reach, {side}_away)
    {side}_raw = Max({side}_rest, zero)
    {side}_sum = ReduceSum<keepdims = 1>({side}_raw, across)
    {side}_many = Mul({side}_raw, whole)
    {side}_above = Add({side}_many, {side}_sum)
    {side}_twice = Mul({side}_sum, two)
    {side}_weights = Div({side}_above, {side}_twice)
    {side}_upper = Div({side}_weights, seven)
    {side}_upper_bits = Mul({side}_upper, seven)
    {side}_low_whole = Sub({side}_weights, {side}_upper_bits)
    {side}_high_whole = Div({side}_upper, seven)
    {side}_high_bits = Mul({side}_high_whole, seven)
    {side}_middle_whole = Sub({side}_upper, {side}_high_bits)
    {side}_high = Cast<to = {float}>({side}_high_whole)
    {side}_middle = Cast<to = {float}>({side}_middle_whole)
    {side}_low = Cast<to = {float}>({side}_low_whole)
"""

# The sum of the three parts, over 2^22 and rounded; half of 2^22 is 128 units of the high one.
_SUMS = """
    {name}_low_over = Div({name}_low, bits)
    {name}_low_carry = Floor({name}_low_over)
    {name}_middle_sum = Add({name}_middle, {name}_low_carry)
    {name}_middle_over = Div({name}_middle_sum, bits)
    {name}_middle_carry = Floor({name}_middle_over)
    {name}_high_sum = Add({name}_high, {name}_middle_carry)
    {name}_high_up = Add({name}_high_sum, half)
    {name}_high_over = Div({name}_high_up, byte)
    {name} = Floor({name}_high_over)
"""


def with_front(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """The model behind a resize: its input is `pixels`, uint8 (batch, height, width, channels) of any size.

    The channels are red, green, blue, and a fourth that is not looked at: what a canvas gives. The pictures of a batch
    have one size. The outputs are the model's own.

    Args:
        model: of the input `pixel_values`, (batch, 3, size, size).
    """
    opset = next(one.version for one in model.opset_import if one.domain == "")
    kinds = {"float": TensorProto.FLOAT}
    odd = ", ".join(str(2 * place + 1) for place in range(size))
    parts = {
        side: _WEIGHTS.format(side=side, axis=axis, end=axis + 1, **kinds)
        for side, axis in (("height", 1), ("width", 2))
    }
    parts |= {name: _SUMS.format(name=name) for name in ("rows", "columns")}
    front = parser.parse_model(_FRONT.format(opset=opset, size=size, odd=odd, **parts, **kinds))
    extra = [helper.make_opsetid(one.domain, one.version) for one in model.opset_import if one.domain]
    front.opset_import.extend(extra)
    front.ir_version = model.ir_version
    front = compose.add_prefix(front, "front_", rename_inputs=False, rename_outputs=False)
    return compose.merge_models(front, model, [("pixel_values", "pixel_values")])
