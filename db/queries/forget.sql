SELECT forget_v1()
