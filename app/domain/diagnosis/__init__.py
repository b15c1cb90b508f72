"""Why a fit is where it is: pure formulas over spec, problem and result; nothing is run here."""
