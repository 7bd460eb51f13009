"""Networks with rounded numbers: any float network, its modules swapped from outside, none written twice."""
