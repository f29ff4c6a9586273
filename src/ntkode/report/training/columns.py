"""The columns that the tables of several training studies share."""

from ntkode.report.tables.comparison import Column
from ntkode.report.training.claims import GUARANTEED, RATE, SHARE

GRADIENT_ERROR = "gradient/relative_error.first"

LOSS_RATIO_COLUMN = Column("loss/ratio", "loss ratio", "loss\nL/L₀")
RATE_COLUMN = Column(RATE, "decay rate", "rate\nat end")
PREDICTION_GAP_COLUMN = Column("loss/prediction_gap", "prediction gap", "gap to\nlinear")
LAMBDA_MIN_COLUMN = Column("ntk/lambda_min.first", "lambda_min start", "λ_min\nstart")
SHARE_COLUMN = Column(SHARE, "least lambda_min share", "least\nshare")
GRADIENT_ERROR_COLUMN = Column(GRADIENT_ERROR, "gradient error start", "gradient\nerror")
ACCURACY_COLUMN = Column("accuracy/test", "test accuracy", "test\nacc.")
SECONDS_COLUMN = Column("cost/run_seconds", "seconds", "")

CONVERGENCE_COLUMNS = (
    LOSS_RATIO_COLUMN,
    RATE_COLUMN,
    Column(GUARANTEED, "guaranteed rate", "rate\nguar."),
    PREDICTION_GAP_COLUMN,
    LAMBDA_MIN_COLUMN,
    SHARE_COLUMN,
    Column("ntk/drift", "NTK drift", "NTK\ndrift"),
)
TEST_COLUMNS = (Column("loss/test", "test loss", "test\nloss"), ACCURACY_COLUMN, SECONDS_COLUMN)
