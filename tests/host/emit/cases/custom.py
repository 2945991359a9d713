"""The custom operator that the runtime itself has."""

import numpy as np

from emit.case import Case, Out, const, rand

BOXES, CLASSES = 20, 3
POST_PROCESS = {
    "max_detections": 6,
    "max_classes_per_detection": 1,
    "num_classes": CLASSES,
    "nms_score_threshold": 0.2,
    "nms_iou_threshold": 0.4,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}
ANCHORS = np.concatenate([rand(BOXES, 2, low=0, high=1, seed=2), rand(BOXES, 2, low=0.2, high=0.5, seed=3)], 1)


def post_process(name: str, background: int = 1, **options: object) -> Case:
    inputs = [rand(1, BOXES, 4), rand(1, BOXES, CLASSES + background, low=0, high=1, seed=1), const(ANCHORS)]
    options = {**POST_PROCESS, **options}
    return Case("CUSTOM:TFLite_Detection_PostProcess", inputs, options, [Out()] * 4, name=name)


CASES = [
    post_process("fast"),
    post_process("fast-no-background", background=0),
    post_process("few-pass", nms_score_threshold=0.97, max_classes_per_detection=1, use_regular_nms=True),
    post_process("regular", use_regular_nms=True, detections_per_class=3),
    post_process("regular-many", use_regular_nms=True, detections_per_class=30, max_detections=15),
    post_process("two-classes-each", max_classes_per_detection=2, nms_iou_threshold=1.0, nms_score_threshold=0.0),
]
