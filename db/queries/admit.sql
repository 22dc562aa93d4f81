SELECT admit_v2(%s)
