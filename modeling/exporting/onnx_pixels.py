"""A front for an exported model: pictures of any size are resized as Pillow does it. Needs the extra `onnx`.

The runtimes of browsers and phones shrink a picture without averaging, and the model then answers about another face.
So the resize is a part of the graph: two matrix products, first along the rows, with the weights of Pillow's bilinear
filter, rounded to 22 bits as Pillow rounds them, and a result of whole numbers after each. In float64 all of this is
exact, so the pixels are Pillow's own. ONNX has an operator for it, Resize with antialias, but in ONNX Runtime 1.32
that is up to 20 of 255 levels away for uint8.
"""

import onnx
from onnx import TensorProto, compose, helper, parser

_FRONT = """
<ir_version: 10, opset_import: ["" : {opset}]>
front (uint8[batch, height, width, channels] pixels) => (float[batch, 3, {size}, {size}] pixel_values)
<double one = {{1}}, double zero = {{0}}, double half = {{0.5}}, double side = {{{size}}},
 double[{size}, 1] steps = {{{steps}}}, double bits = {{4194304}},
 float scale = {{127.5}}, float shift = {{1}}, int64 start = {{0}}, int64 step = {{1}},
 int64[1] from = {{0}}, int64[1] to = {{3}}, int64[1] last = {{3}}, int64[1] across = {{1}}>
{{
    colours = Slice(pixels, from, to, last)
    planes = Transpose<perm = [0, 3, 1, 2]>(colours)
    values = Cast<to = {double}>(planes)
    {width}
    turned = Transpose<perm = [1, 0]>(width_weights)
    rows_sum = MatMul(values, turned)
    rows_part = Div(rows_sum, bits)
    rows_up = Add(rows_part, half)
    rows = Floor(rows_up)
    {height}
    columns_sum = MatMul(height_weights, rows)
    columns_part = Div(columns_sum, bits)
    columns_up = Add(columns_part, half)
    columns = Floor(columns_up)
    levels = Cast<to = {float}>(columns)
    scaled = Div(levels, scale)
    pixel_values = Sub(scaled, shift)
}}
"""

# The weights of Pillow's bilinear filter for one side: (size, length), of 22 bits.
_WEIGHTS = """
    {side}_length = Shape<start = {axis}, end = {end}>(pixels)
    {side}_double = Cast<to = {double}>({side}_length)
    {side}_scale = Div({side}_double, side)
    {side}_reach = Max({side}_scale, one)
    {side}_narrow = Div(one, {side}_reach)
    {side}_centres = Mul(steps, {side}_scale)
    {side}_count = Squeeze({side}_length)
    {side}_numbers = Range(start, {side}_count, step)
    {side}_places = Cast<to = {double}>({side}_numbers)
    {side}_middles = Add({side}_places, half)
    {side}_apart = Sub({side}_middles, {side}_centres)
    {side}_away = Abs({side}_apart)
    {side}_share = Mul({side}_away, {side}_narrow)
    {side}_rest = Sub(one, {side}_share)
    {side}_raw = Max({side}_rest, zero)
    {side}_sum = ReduceSum<keepdims = 1>({side}_raw, across)
    {side}_even = Div({side}_raw, {side}_sum)
    {side}_many = Mul({side}_even, bits)
    {side}_above = Add({side}_many, half)
    {side}_weights = Floor({side}_above)
"""


def with_front(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """The model behind a resize: its input is `pixels`, uint8 (batch, height, width, channels) of any size.

    The channels are red, green, blue, and a fourth that is not looked at: what a canvas gives. The pictures of a batch
    have one size. The outputs are the model's own.

    Args:
        model: of the input `pixel_values`, (batch, 3, size, size).
    """
    opset = next(one.version for one in model.opset_import if one.domain == "")
    kinds = {"double": TensorProto.DOUBLE, "float": TensorProto.FLOAT}
    steps = ", ".join(f"{place + 0.5}" for place in range(size))
    sides = {
        side: _WEIGHTS.format(side=side, axis=axis, end=axis + 1, **kinds)
        for side, axis in (("height", 1), ("width", 2))
    }
    front = parser.parse_model(_FRONT.format(opset=opset, size=size, steps=steps, **sides, **kinds))
    for part in front.opset_import:
        part.version = opset
    extra = [helper.make_opsetid(one.domain, one.version) for one in model.opset_import if one.domain]
    front.opset_import.extend(extra)
    front.ir_version = model.ir_version
    front = compose.add_prefix(front, "front_", rename_inputs=False, rename_outputs=False)
    return compose.merge_models(front, model, [("pixel_values", "pixel_values")])
